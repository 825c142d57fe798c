# SPDX-License-Identifier: MIT
"""Frames of ARP and neighbour discovery: ours byte by byte, others' read as the RFCs say."""

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from xdplb.host import discovery_frames
from xdplb.model.address import parse_address

OURS, THEIRS, ROUTERS = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
VIP, VIP6 = parse_address("192.168.2.100"), parse_address("2001:db8:2::12:3456")


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def reply(**fields: object) -> Packet:
    told = {"op": 2, "hwsrc": THEIRS, "psrc": str(VIP), "hwdst": OURS, "pdst": "0.0.0.0"}
    return Ether(src=THEIRS, dst=OURS) / ARP(**told | fields)


def advertisement(*options: Packet, ipv6: dict | None = None, **fields: object) -> Packet:
    header = IPv6(**{"src": str(VIP6), "dst": "ff02::1", "hlim": 255} | (ipv6 or {}))
    told = ICMPv6ND_NA(**{"R": 0, "S": 0, "O": 1, "tgt": str(VIP6)} | fields)
    packet = Ether(src=THEIRS, dst="33:33:00:00:00:01") / header / told
    for option in options:
        packet /= option
    return packet


def test_an_arp_probe():
    """A request for the VIP, from nobody's address: RFC 5227 §2.1.1."""
    wanted = bytes.fromhex(
        "ffffffffffff 020000000001 0806 0001 0800 06 04 0001"
        "020000000001 00000000 000000000000 c0a80264"
    )

    assert wanted == discovery_frames.question(VIP, mac(OURS))


def test_a_neighbour_solicitation():
    """To the solicited-node group of the VIP, from ::, without options: RFC 4862 §5.4.2."""
    wanted = (
        Ether(src=OURS, dst="33:33:ff:12:34:56")
        / IPv6(src="::", dst="ff02::1:ff12:3456", hlim=255)
        / ICMPv6ND_NS(tgt=str(VIP6))
    )

    assert bytes(wanted) == discovery_frames.question(VIP6, mac(OURS))


def test_gratuitous_arp():
    """A request for the VIP from itself: RFC 5227 §2.3."""
    wanted = Ether(src=OURS, dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=OURS, psrc=str(VIP), hwdst="00:00:00:00:00:00", pdst=str(VIP)
    )

    assert bytes(wanted) == discovery_frames.announcement(VIP, mac(OURS))


def test_an_unsolicited_advertisement():
    """To all nodes: override what you know: RFC 4861 §7.2.6."""
    wanted = advertisement(ICMPv6NDOptDstLLAddr(lladdr=OURS))
    wanted.src = OURS

    assert bytes(wanted) == discovery_frames.announcement(VIP6, mac(OURS))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (reply(), (VIP, mac(THEIRS))),
        (reply() / bytes(18), (VIP, mac(THEIRS))),  # padded to 60 bytes
        (reply(op=1, pdst=str(VIP)), (VIP, mac(THEIRS))),  # gratuitous
        (advertisement(), (VIP6, mac(THEIRS))),
        (advertisement(ICMPv6NDOptDstLLAddr(lladdr=ROUTERS)), (VIP6, mac(ROUTERS))),
    ],
    ids=["reply", "padded", "gratuitous", "from its MAC", "by its option"],
)
def test_answers(frame, said):
    """Who has the address, by ARP's own field or the option; else by the frame's source."""
    assert said == discovery_frames.answer(bytes(frame))


def test_a_probe_of_somebody_else_claims_nothing():
    """Its sender has no address yet: 0.0.0.0 is no VIP; a solicitation is no answer."""
    probe, solicitation = (discovery_frames.question(vip, mac(THEIRS)) for vip in (VIP, VIP6))

    assert (parse_address("0.0.0.0"), mac(THEIRS)) == discovery_frames.answer(probe)
    assert discovery_frames.answer(solicitation) is None


@pytest.mark.parametrize(
    "frame",
    [
        reply(op=3),
        reply(hwtype=6),
        reply(ptype=0x86DD),
        advertisement(ipv6={"hlim": 254}),
        advertisement(ipv6={"nh": 17}),
        advertisement(code=1),
        advertisement(type=135),
        advertisement(cksum=0x1234),
        advertisement(ipv6={"plen": 16}),
        advertisement(ipv6={"plen": 32}),
        advertisement(ICMPv6NDOptDstLLAddr(lladdr=OURS, len=0)),
        advertisement(ICMPv6NDOptDstLLAddr(lladdr=OURS, len=2)),
    ],
)
def test_what_is_no_answer(frame):
    """Another protocol, what was forwarded, what is damaged."""
    assert discovery_frames.answer(bytes(frame)) is None


@pytest.mark.parametrize("whole", [reply(), advertisement(ICMPv6NDOptDstLLAddr(lladdr=OURS))])
def test_what_is_cut_short(whole):
    """No beginning of an answer is an answer."""
    frame = bytes(whole)

    assert {None} == {discovery_frames.answer(frame[:n]) for n in range(len(frame))}
