# SPDX-License-Identifier: MIT
"""Tunnels other than IPIP: GRE (RFC 2784) and GUE (include/net/gue.h), by real."""

from ipaddress import IPv6Address
from random import Random

import packets
import pytest
from balancer import XDP_PASS, XDP_TX
from packets import RIP, RIP6, vlan
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt
from scapy.packet import Raw

from xdplb.model.address import parse_address
from xdplb.model.tunnel import Tunnel

pytestmark = pytest.mark.root

MTU = 1500
CLIENTS = ("192.0.2.1", "192.0.2.2", "198.51.100.7", "203.0.113.250")


def segment(length: int, **fields: object) -> bytes:
    """An ACK with data: an IP packet of this length."""
    return packets.ack(payload=b"x" * (length - 40), **fields)


@pytest.mark.parametrize("checksum", [False, True], ids=["plain", "csum"])
@pytest.mark.parametrize("frame", [packets.syn(), packets.ack(payload=b"odd"), packets.syn(tos=3)])
def test_gre(lb, frame, checksum):
    """A packet for a GRE real leaves in GRE, on request with a checksum over all of it."""
    lb.add_service(reals=[f"{RIP} tunnel={'gre+csum' if checksum else 'gre'}"])

    out = lb.send(frame)

    assert (XDP_TX, packets.gre(frame, checksum=checksum)) == out
    assert {"forwarded": 1} == lb.counted


@pytest.mark.parametrize("check", [False, True], ids=["plain", "csum"])
@pytest.mark.parametrize("frame", [packets.syn(), packets.ack(payload=b"odd"), packets.syn(tos=3)])
def test_gue(lb, frame, check):
    """A packet for a GUE real leaves in UDP to its port, on request with UDP's checksum."""
    lb.add_service(reals=[f"{RIP} tunnel=gue:7777{'+csum' if check else ''}"])

    action, out = lb.send(frame)

    sport, _ = packets.outer_ports(out)
    assert (XDP_TX, packets.gue(frame, sport=sport, dport=7777, check=check)) == (action, out)
    assert {"forwarded": 1} == lb.counted


@pytest.mark.parametrize("text", ["gre+csum", "gue+csum"])
def test_datagram_with_a_checksum_is_summed(lb, text):
    """UDP's checksum can be used as TCP's can."""
    lb.add_service(reals=[f"{RIP} tunnel={text}"], udp=True)
    question = packets.udp(payload=b"question?")

    action, out = lb.send(question)

    if text == "gre+csum":
        expected = packets.gre(question, checksum=True)
    else:
        sport, _ = packets.outer_ports(out)
        expected = packets.gue(question, sport=sport, check=True)
    assert (XDP_TX, expected) == (action, out)


UNSUMMED = {
    "no checksum": UDP(sport=packets.SPORT, dport=packets.DPORT, chksum=0) / Raw(b"question"),
    "not over all": UDP(sport=packets.SPORT, dport=packets.DPORT, len=12) / Raw(b"question"),
    "over more": UDP(sport=packets.SPORT, dport=packets.DPORT, len=17) / Raw(b"question"),
}


@pytest.mark.parametrize("text", ["gre+csum", "gue+csum"])
@pytest.mark.parametrize("datagram", UNSUMMED.values(), ids=UNSUMMED)
def test_datagram_without_a_checksum_goes_without(lb, text, datagram):
    """If the payload's sum is not known, the tunnel has no checksum."""
    lb.add_service(reals=[f"{RIP} tunnel={text}"], udp=True)
    question = packets.ip(datagram)

    action, out = lb.send(question)

    if text == "gre+csum":
        expected = packets.gre(question)
    else:
        expected = packets.gue(question, sport=packets.outer_ports(out)[0])
    assert (XDP_TX, expected) == (action, out)


@pytest.mark.parametrize("text", ["gre", "gre+csum", "gue", "gue+csum"])
def test_padding_stays_and_tags_do_not(lb, text):
    """The link's padding stays and VLAN tags are removed. Neither is part of a checksum."""
    lb.add_service(reals=[f"{RIP} tunnel={text}"])
    frame = packets.syn(tags=(vlan(5),)) + b"padding"
    checksum = text.endswith("+csum")

    action, out = lb.send(frame)

    if text.startswith("gre"):
        expected = packets.gre(frame, checksum=checksum)
    else:
        sport, _ = packets.outer_ports(out)
        expected = packets.gue(frame, sport=sport, check=checksum)
    assert (XDP_TX, expected) == (action, out)


def test_gue_s_source_port_is_the_flow_s(lb):
    """All packets of a flow have one source port, other flows have others; all are
    dynamic ports.
    """
    lb.add_service(reals=[f"{RIP} tunnel=gue"])

    ports = {
        client: {packets.outer_ports(lb.send(frame)[1])[0] for frame in frames}
        for client in CLIENTS
        for frames in [[packets.syn(src=client), packets.ack(src=client)]]
    }

    assert all(len(of_flow) == 1 and min(of_flow) >= 0xC000 for of_flow in ports.values())
    assert len(CLIENTS) == len(set.union(*ports.values()))


@pytest.mark.parametrize(
    ("text", "added"), [("ipip", 20), ("gre", 24), ("gre+csum", 28), ("gue", 32), ("gue+csum", 32)]
)
def test_mtu_leaves_room_for_the_tunnel(lb, text, added):
    """The largest packet that still fits is forwarded; one byte more is answered with what fits."""
    lb.add_service(reals=[f"{RIP} tunnel={text}"])
    fits, does_not = segment(MTU - added), segment(MTU - added + 1)

    action, out = lb.send(fits)
    answer = lb.send(does_not)

    assert (XDP_TX, len(fits) + added) == (action, len(out))
    assert (XDP_TX, packets.too_big(does_not, MTU - added)) == answer
    assert {"forwarded": 1, "replied_too_big": 1} == lb.counted


def test_too_big_without_df_goes_up(lb):
    """A packet that only the kernel could fragment passes unchanged."""
    lb.add_service(reals=[f"{RIP} tunnel=gue"])
    frame = segment(MTU - 31, ip_flags="")

    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_too_big": 1} == lb.counted


def test_tunnel_changes_live(lb):
    """A real's tunnel is changed in place, and the same flow continues through the new one."""
    lb.add_service(reals=[RIP])
    syn, ack = packets.syn(), packets.ack()
    assert (XDP_TX, packets.ipip(syn)) == lb.send(syn)

    lb.director.edit_real(lb.key, parse_address(RIP), tunnel=Tunnel.parse("gre"))

    assert (XDP_TX, packets.gre(ack)) == lb.send(ack)


def test_reals_of_one_service_have_tunnels_of_their_own(lb):
    """By turns, one real gets IPIP and the other GRE."""
    other = "192.168.0.8"
    lb.add_service(reals=[RIP, f"{other} tunnel=gre"], scheduler="rr")

    out = [lb.send(packets.syn(src=client)) for client in CLIENTS[:2]]

    frames = [packets.syn(src=client) for client in CLIENTS[:2]]
    assert [
        (XDP_TX, packets.gre(frames[0], dst=other)),
        (XDP_TX, packets.ipip(frames[1])),
    ] == out


FAMILIES = {
    "IPv4 in IPv6": (f"{packets.VIP}:80", RIP6, packets.ip),
    "IPv6 in IPv4": (f"[{packets.VIP6}]:80", RIP, packets.ip6),
    "IPv6 in IPv6": (f"[{packets.VIP6}]:80", RIP6, packets.ip6),
}
CARRIED = {
    "SYN": lambda network: packets.syn(network=network),
    "odd length": lambda network: packets.ack(network=network, payload=b"odd"),
    "question": lambda network: packets.udp(network=network),
    "tag and padding": lambda network: packets.syn(network=network, tags=(vlan(5),)) + b"padding",
    "class and label": lambda _: packets.syn(network=packets.ip6, tc=0xBB, fl=0xFFFFF, hlim=2),
}


def wrapped(frame, real, text, out):
    """The frame as it must leave. Free choices are taken from the frame that left."""
    kind, checksum = text.removesuffix("+csum"), text.endswith("+csum")
    identity = packets.outer_id(out)
    if kind == "gre":
        return packets.gre(frame, checksum=checksum, dst=real, id=identity)
    sport, _ = packets.outer_ports(out)
    return packets.gue(frame, sport=sport, check=checksum, dst=real, id=identity)


@pytest.mark.parametrize("text", ["gre", "gre+csum", "gue", "gue+csum"])
@pytest.mark.parametrize("case", CARRIED)
@pytest.mark.parametrize(("endpoint", "real", "network"), FAMILIES.values(), ids=FAMILIES)
def test_families(lb, endpoint, real, network, case, text):
    """GRE says 0x86dd and GUE 41 for IPv6 inside. Outer checksums use IPv6's pseudo header if IPv6
    is outside.
    """
    for udp in (False, True):
        lb.add_service(endpoint, reals=[f"{real} tunnel={text}"], udp=udp)
    frame = CARRIED[case](network)
    if network is packets.ip and case == "class and label":
        frame = packets.syn(tos=0xBB, ttl=2)

    action, out = lb.send(frame)

    assert (XDP_TX, wrapped(frame, real, text, out)) == (action, out)
    assert {"forwarded": 1} == lb.counted


@pytest.mark.parametrize("real", [RIP, RIP6])
@pytest.mark.parametrize("text", ["gre+csum", "gue+csum"])
def test_checksums_hold_for_any_words(lb, real, text):
    """The checksums are combined from sums with any carries, and are right."""
    lb.add_service(f"[{packets.VIP6}]:80", reals=[f"{real} tunnel={text}"])
    random = Random(6)
    for _ in range(300):
        frame = packets.ack(
            network=packets.ip6,
            src=str(
                IPv6Address(random.choice((0x2001 << 112, 0xFEFF << 112)) + random.getrandbits(96))
            ),
            sport=random.getrandbits(16),
            tc=random.getrandbits(8),
            fl=random.choice((0, 0xFFFFF, random.getrandbits(20))),
            hlim=random.randint(2, 255),
            payload=random.randbytes(random.randrange(40)),
        )

        action, out = lb.send(frame)

        assert (XDP_TX, wrapped(frame, real, text, out)) == (action, out)


@pytest.mark.parametrize("text", ["gre+csum", "gue+csum"])
def test_behind_extension_headers_it_goes_without_checksum(lb, text):
    """No checksum covers extension headers, so the tunnel has none, as for a datagram
    without one.
    """
    lb.add_service(f"[{packets.VIP6}]:80", reals=[f"{RIP6} tunnel={text}"])
    frame = packets.syn(network=packets.ip6, extensions=(IPv6ExtHdrDestOpt(),))

    action, out = lb.send(frame)

    plain = text.removesuffix("+csum")
    assert (XDP_TX, wrapped(frame, RIP6, plain, out)) == (action, out)
