# SPDX-License-Identifier: MIT
"""What the program makes of a frame's first bytes. What is for no VIP passes, however broken."""

import packets
import pytest
from balancer import XDP_DROP, XDP_PASS, XDP_TX
from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

pytestmark = pytest.mark.root

NOT_VIP = "10.0.0.81"
TCP_HEADER, UDP_HEADER, IP_HEADER, ETH_HEADER = 20, 8, 20, 14
NOP = b"\x01"


def segment(**fields):
    """A SYN whose IP header is valid or not."""
    return packets.ip(TCP(sport=packets.SPORT, dport=packets.DPORT, flags="S"), **fields)


def datagram(**fields):
    return packets.ip(UDP(sport=packets.SPORT, dport=packets.DPORT) / Raw(b"question"), **fields)


# By the counter that names them.
WRONG = {
    "malformed": {
        "version 5": segment(version=5),
        "version 6": segment(version=6),
        "header of 16 bytes": segment(ihl=4),
        "header of 0 bytes": segment(ihl=0),
    },
    "length": {
        "header longer than the packet": segment(ihl=15, len=40),
        "length below the header's": segment(len=19),
        "length 0": segment(len=0),
        "length beyond the frame": segment(len=41),
        "frame cut in TCP's header": segment()[:-1],
        "frame cut before TCP's header": segment()[: ETH_HEADER + IP_HEADER],
    },
    "truncated": {
        "TCP header beyond the length": segment(len=39) + bytes(20),
        "no room for TCP behind options": segment(options=NOP * 40, len=79) + bytes(20),
        "frame cut in UDP's header": datagram(len=27)[: ETH_HEADER + 27],
        "UDP header beyond the length": datagram(len=27),
    },
}
ALL_WRONG = {name: frame for frames in WRONG.values() for name, frame in frames.items()}
BY_COUNTER = [(c, frame) for c, frames in WRONG.items() for frame in frames.values()]

PASSING = {
    "a ping": (packets.icmp(), "pass_icmp"),
    "ICMP without its header": (packets.ip(Raw(b""), proto=1), "pass_icmp"),
    "ESP": (packets.ip(Raw(bytes(40)), proto=50), "pass_protocol"),
    "IPIP": (packets.ip(packets.IP() / TCP(), proto=4), "pass_protocol"),
    "SCTP": (packets.ip(Raw(bytes(40)), proto=132), "pass_protocol"),
    "TTL 1": (segment(ttl=1), "pass_ttl"),
    "TTL 0": (segment(ttl=0), "pass_ttl"),
    "a first fragment of UDP": (packets.fragments()[0], "pass_no_service"),
    "a middle fragment": (packets.fragments()[1], "pass_fragment"),
    "a last fragment": (packets.fragments()[-1], "pass_fragment"),
    "a fragment too short for ports": (
        packets.ip(Raw(b""), proto=6, ip_flags="MF"),
        "pass_fragment",
    ),
    "another port": (packets.syn(dport=81), "pass_no_service"),
    "UDP to a TCP service": (packets.udp(), "pass_no_service"),
}

NOT_IP = {
    "ARP for the VIP": packets.arp(),
    "a bare Ethernet header": bytes(packets.link(type=0x88CC)),
    "802.3 with a length": bytes(packets.link(type=0x0026)) + bytes(38),
}


@pytest.fixture
def served(lb):
    """A director with the VIP's TCP service on port 80, and nothing else."""
    lb.add_service()
    return lb


@pytest.mark.parametrize(("counter", "frame"), BY_COUNTER, ids=ALL_WRONG)
def test_what_contradicts_itself_is_dropped_at_the_vip(served, counter, frame):
    """An invalid packet to a VIP is dropped: for its header, its length, or a missing part."""
    action, _ = served.send(frame)

    assert XDP_DROP == action
    assert {f"drop_{counter}": 1} == served.counted


@pytest.mark.parametrize("name", ALL_WRONG)
def test_what_contradicts_itself_passes_elsewhere(served, name):
    """The same bytes to another address pass unchanged."""
    frame = ALL_WRONG[name].replace(
        bytes(map(int, packets.VIP.split("."))), bytes(map(int, NOT_VIP.split(".")))
    )

    out = served.send(frame)

    assert (XDP_PASS, frame) == out
    assert {"pass_not_vip": 1} == served.counted


@pytest.mark.parametrize(("frame", "counter"), PASSING.values(), ids=PASSING)
def test_what_the_kernel_can_do_better_goes_up(served, frame, counter):
    """These packets to the VIP are not forwarded: they pass unchanged, with their own counters."""
    out = served.send(frame)

    assert (XDP_PASS, frame) == out
    assert {counter: 1} == served.counted


@pytest.mark.parametrize("frame", NOT_IP.values(), ids=NOT_IP)
def test_other_protocols_pass(served, frame):
    """Frames that are neither IPv4 nor IPv6 pass unchanged."""
    out = served.send(frame)

    assert (XDP_PASS, frame) == out
    assert {"pass_not_ip": 1} == served.counted


@pytest.mark.parametrize("length", [0, 1, 12, 19])
def test_headers_too_short_for_an_address_pass(served, length):
    """If no destination can be read, the packet may not be for the VIP: it passes."""
    frame = segment()[: ETH_HEADER + length]

    out = served.send(frame)

    assert (XDP_PASS, frame) == out
    assert {"pass_truncated": 1} == served.counted


@pytest.mark.parametrize("words", range(1, 11))
def test_ip_options_are_carried(served, words):
    """A client's IP options, of any length, travel inside; the outer header has none."""
    syn = packets.syn(options=NOP * 4 * words)

    out = served.send(syn)

    assert (XDP_TX, packets.ipip(syn)) == out
    assert {"forwarded": 1} == served.counted


@pytest.mark.parametrize("padding", [1, 6, 40])
def test_padding_behind_the_packet_is_kept(served, padding):
    """A short frame's padding stays behind the packet, outside its length."""
    syn = packets.syn() + bytes(padding)

    out = served.send(syn)

    assert (XDP_TX, packets.ipip(syn)) == out
    assert len(syn) - ETH_HEADER - padding + 20 == int.from_bytes(out[1][16:18], "big")


def test_payload_is_carried(served):
    """A segment with the largest payload that fits the tunnel is forwarded whole."""
    request = packets.tcp("PA", payload=bytes(range(256)) * 5 + bytes(160))

    out = served.send(request)

    assert 1480 == len(request) - ETH_HEADER
    assert (XDP_TX, packets.ipip(request)) == out


@pytest.mark.parametrize(
    "flags", ["", "S", "SA", "A", "PA", "F", "FA", "R", "RA", "SF", "FSRPAUEC"]
)
def test_tcp_flags_of_all_kinds_are_carried(served, flags):
    """A stateless service forwards segments with any flags."""
    frame = packets.tcp(flags)

    out = served.send(frame)

    assert (XDP_TX, packets.ipip(frame)) == out
    assert {"forwarded": 1} == served.counted


def test_udp_without_payload_is_carried(lb):
    """UDP of eight bytes is forwarded."""
    lb.add_service(udp=True)
    frame = packets.udp(payload=b"")

    out = lb.send(frame)

    assert (XDP_TX, packets.ipip(frame)) == out
    assert {"forwarded": 1} == lb.counted


def test_reserved_fragment_bit_is_no_fragment(served):
    """RFC 791's reserved bit does not make a packet a fragment; it is not copied outside."""
    frame = packets.syn(ip_flags="DF+evil")

    out = served.send(frame)

    assert (XDP_TX, packets.ipip(frame)) == out
