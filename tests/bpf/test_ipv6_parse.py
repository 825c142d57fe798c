# SPDX-License-Identifier: MIT
"""IPv6 headers: what stands between them and the ports, what lies, and what the kernel gets."""

import ctypes

import packets
import pytest
from balancer import XDP_DROP, XDP_PASS, XDP_TX
from packets import DPORT, RIP6, SPORT, VIP6, ip6
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6PacketTooBig,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Raw

from xdplb.kernel import libbpf, program_text

pytestmark = pytest.mark.root

ETH_HEADER, IP_HEADER = 14, 40
ENDPOINT = f"[{VIP6}]:{DPORT}"
HOP, DESTINATION = IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()
ROUTED = IPv6ExtHdrRouting(addresses=["2001:db8::5"], segleft=0)
LONG = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(254))])
HEADERS_NEXT = {"hop-by-hop": 0, "routing": 43, "fragment": 44, "ESP": 50, "AH": 51, "none": 59}


def syn(**fields):
    """A SYN behind any extension headers, valid or not."""
    return ip6(TCP(sport=SPORT, dport=DPORT, flags="S"), **fields)


def datagram(**fields):
    return ip6(UDP(sport=SPORT, dport=DPORT) / Raw(b"question"), **fields)


def cut(frame, length, plen=None):
    """The first bytes of a frame's IP packet. The length in its header is right, or as given."""
    plen = length - IP_HEADER if plen is None else plen
    return frame[: ETH_HEADER + 4] + plen.to_bytes(2, "big") + frame[ETH_HEADER + 6 :][: length - 6]


FOLLOWED = {
    "hop-by-hop options": (HOP,),
    "destination options": (DESTINATION,),
    "a routing header that is done": (ROUTED,),
    "long options": (LONG,),
    "all of them": (HOP, DESTINATION, ROUTED, DESTINATION),
    "four long ones": (LONG,) * 4,
}

PASSING = {
    "a ping": (packets.icmp6(), "pass_icmp"),
    "a ping behind options": (packets.icmp6(extensions=(HOP,)), "pass_icmp"),
    "a router's solicitation": (ip6(ICMPv6ND_NS(tgt=VIP6), hlim=255), "pass_icmp"),
    "an advertisement": (ip6(ICMPv6ND_NA(tgt=VIP6), hlim=255), "pass_icmp"),
    "a solicitation that lies": (ip6(ICMPv6ND_NS(tgt=VIP6), hlim=1, plen=999), "pass_icmp"),
    "a solicitation without its header": (ip6(Raw(b""), nh=58), "pass_icmp"),
    "packet too big": (ip6(ICMPv6PacketTooBig() / Raw(bytes(48))), "pass_icmp"),
    "IPv4's ICMP": (ip6(ICMP(), nh=1), "pass_protocol"),
    "ESP": (ip6(Raw(bytes(40)), nh=50), "pass_protocol"),
    "AH": (ip6(Raw(b"\x06\x04" + bytes(42)), nh=51), "pass_protocol"),
    "no next header": (ip6(Raw(b""), nh=59), "pass_protocol"),
    "IPv6 in IPv6": (ip6(packets.IPv6() / TCP(), nh=41), "pass_protocol"),
    "SCTP": (ip6(Raw(bytes(40)), nh=132), "pass_protocol"),
    "a fifth header": (syn(extensions=(DESTINATION,) * 5), "pass_protocol"),
    "hosts still to visit": (
        syn(extensions=(IPv6ExtHdrRouting(addresses=["2001:db8::5"], segleft=1),)),
        "pass_protocol",
    ),
    "a jumbogram": (syn(extensions=(HOP,), plen=0), "pass_protocol"),
    "a fragment of a fragment": (
        syn(extensions=(IPv6ExtHdrFragment(m=1, id=7), IPv6ExtHdrFragment(m=1, id=8))),
        "pass_fragment",
    ),
    "a fragment's header behind four others": (
        syn(extensions=(*(DESTINATION,) * 4, IPv6ExtHdrFragment(id=7))),
        "pass_protocol",
    ),
    "a last fragment": (
        ip6(Raw(b"rest"), extensions=(IPv6ExtHdrFragment(nh=6, offset=90, id=7),)),
        "pass_fragment",
    ),
    "hop limit 1": (syn(hlim=1), "pass_ttl"),
    "hop limit 0": (syn(hlim=0), "pass_ttl"),
    "another port": (packets.syn(network=ip6, dport=81), "pass_no_service"),
    "UDP to a TCP service": (datagram(), "pass_no_service"),
    "another address": (syn(dst="2001:db8:80::81"), "pass_not_vip"),
    "a neighbour of the VIP": (syn(dst="2001:db8:81::80"), "pass_not_vip"),
    "all nodes": (ip6(ICMPv6ND_NA(), dst="ff02::1"), "pass_not_vip"),
}

# By the counter that names them.
WRONG = {
    "malformed": {
        "version 4": syn(version=4),
        "version 7": syn(version=7),
    },
    "length": {
        "length beyond the frame": syn(plen=21),
        "frame cut in TCP's header": syn()[:-1],
        "frame cut before TCP's header": syn()[: ETH_HEADER + IP_HEADER],
    },
    "truncated": {
        "length 0": syn(plen=0),
        "TCP header beyond the length": syn(plen=19) + bytes(20),
        "UDP header beyond the length": cut(datagram(), IP_HEADER + 7) + bytes(20),
        "half a fragment's header": ip6(Raw(b"1234"), nh=44),
        "half an extension": cut(syn(extensions=(DESTINATION,)), IP_HEADER + 7),
        "half an extension, and padding": cut(syn(extensions=(DESTINATION,)), IP_HEADER + 7)
        + bytes(40),
        "an extension longer than the packet": ip6(Raw(b"\x06\xff" + bytes(60)), nh=60),
        "an extension up to the end": ip6(Raw(b"\x06\x01" + bytes(14)), nh=60),
        "a long one cut": cut(syn(extensions=(LONG,)), IP_HEADER + 100),
        "an extension that ends beyond the packet": cut(syn(extensions=(LONG,)), 200) + bytes(700),
    },
}
ALL_WRONG = {name: frame for frames in WRONG.values() for name, frame in frames.items()}
BY_COUNTER = [(c, frame) for c, frames in WRONG.items() for frame in frames.values()]


@pytest.fixture
def served(lb):
    """A director with the IPv6 VIP's TCP service on port 80, and nothing else."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    return lb


@pytest.mark.parametrize("extensions", FOLLOWED.values(), ids=FOLLOWED)
@pytest.mark.parametrize("make", [packets.syn, packets.udp])
def test_extension_headers_are_followed(served, make, extensions):
    """Up to four extension headers of any length before TCP or UDP are followed and kept."""
    served.add_service(ENDPOINT, reals=[RIP6], udp=True)
    frame = make(network=ip6, extensions=extensions)

    assert (XDP_TX, packets.ipip(frame, RIP6)) == served.send(frame)
    assert {"forwarded": 1} == served.counted


def test_flows_do_not_depend_on_extension_headers(lb):
    """The flow has the ports behind the extension headers."""
    lb.add_service(ENDPOINT, reals=[RIP6, "2001:db8:9::8"], scheduler="rr")
    real = lb.real_of(syn())

    assert real == lb.real_of(packets.ack(network=ip6, extensions=(DESTINATION, ROUTED)))
    assert real == lb.real_of(packets.ack(network=ip6, extensions=(LONG,)))
    assert [("ESTABLISHED", real)] == lb.flows


@pytest.mark.parametrize(("frame", "counter"), PASSING.values(), ids=PASSING)
def test_what_the_kernel_can_do_better_goes_up(served, frame, counter):
    """These packets to the VIP are not forwarded: they pass unchanged, with their own counters."""
    assert (XDP_PASS, frame) == served.send(frame)
    assert {counter: 1} == served.counted


@pytest.mark.parametrize(("counter", "frame"), BY_COUNTER, ids=ALL_WRONG)
def test_what_contradicts_itself_is_dropped_at_the_vip(served, counter, frame):
    """An invalid packet to a VIP is dropped: for its header, its length, or a missing part."""
    served.add_service(ENDPOINT, reals=[RIP6], udp=True)

    assert XDP_DROP == served.send(frame)[0]
    assert {f"drop_{counter}": 1} == served.counted


@pytest.mark.parametrize("name", ALL_WRONG)
def test_what_contradicts_itself_passes_elsewhere(lb, name):
    """The same bytes to another address pass unchanged."""
    frame = ALL_WRONG[name]

    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_not_vip": 1} == lb.counted


@pytest.mark.parametrize("length", [0, 1, 39])
def test_headers_too_short_for_an_address_pass(served, length):
    """If no destination can be read, the packet may not be for the VIP: it passes."""
    frame = syn()[: ETH_HEADER + length]

    assert (XDP_PASS, frame) == served.send(frame)
    assert {"pass_truncated": 1} == served.counted


def test_ipv4_in_name_of_ipv6_passes(served):
    """An IPv4 packet with IPv6's EtherType has no VIP where IPv6 has its address: it passes."""
    frame = bytes(packets.link(type=0x86DD)) + packets.syn()[ETH_HEADER:]

    assert (XDP_PASS, frame) == served.send(frame)
    assert {"pass_not_vip": 1} == served.counted


def test_without_its_program_ipv6_goes_up(served):
    """If `programs` has no program for IPv6, the packet passes."""
    frame = syn(tags=(packets.vlan(5),))
    number = program_text.enum_values("kind")["KIND_IPV6"]
    libbpf.map_delete(served.tables.programs.fd, ctypes.c_uint32(number))
    try:
        assert (XDP_PASS, frame) == served.send(frame)
    finally:
        served.tables.put_programs(served.program.kinds)
    assert {"pass_no_program": 1} == served.counted
