# SPDX-License-Identifier: MIT
"""Frames of several buffers: jumbo frames pass through, merged ones are left alone.

A test run's first buffer has 3,520 bytes, and the others a page each.
"""

from collections.abc import Iterator

import packets
import pytest
from balancer import SMALL, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX, Balancer
from network import SECOND_HOP, SECOND_IFNAME
from packets import ip, ip6
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, PadN

pytestmark = pytest.mark.root

MTU, LINEAR = 9000, 3520
REALS = {ip: "10.3.0.7", ip6: "2001:db8:a3::7"}  # by the second interface
ENDPOINTS = {ip: f"{packets.VIP}:80", ip6: f"[{packets.VIP6}]:80"}
ADDED = {"ipip": 0, "gre": 4, "gre+csum": 8, "gue": 12, "gue+csum": 12}


@pytest.fixture(scope="module")
def jumbos() -> Iterator[Balancer]:
    """The program, loaded for jumbo frames. Its second interface takes them."""
    with Balancer.loaded(SMALL, frags=True) as lb:
        with lb.test():
            lb.ip(f"link set {SECOND_IFNAME} mtu {MTU}")
        yield lb


@pytest.fixture
def lb(jumbos):
    """The program with empty tables."""
    with jumbos.test():
        yield jumbos


@pytest.fixture(params=[ip, ip6], ids=["IPv4", "IPv6"])
def network(request):
    """The family of the client's packet."""
    return request.param


def segment(length, network=ip, **fields):
    """A segment: an IP packet of `size` bytes, with DF."""
    headers = 60 if network is ip6 else 40
    data = bytes(n % 251 for n in range(length - headers))
    return packets.tcp("A", payload=data, network=network, **fields)


@pytest.mark.parametrize("tunnel", ADDED)
@pytest.mark.parametrize("length", [3506, 3507, 4000, 8940])
def test_jumbo_frames_are_forwarded(lb, network, length, tunnel):
    """A frame of any number of buffers is forwarded as any other, in each tunnel."""
    lb.add_service(ENDPOINTS[network], reals=[f"{REALS[network]} tunnel={tunnel}"])
    frame = segment(length, network)

    action, out = lb.send(frame, ifname=SECOND_IFNAME)

    fields = {
        "dst": REALS[network],
        "src": "2001:db8:3::200" if network is ip6 else "192.168.3.200",
        "hop": SECOND_HOP,
    }
    if tunnel.startswith("gue"):
        sport, _ = packets.outer_ports(out)
        sent = packets.gue(frame, sport=sport, check=tunnel.endswith("+csum"), **fields)
    elif tunnel.startswith("gre"):
        sent = packets.gre(frame, checksum=tunnel.endswith("+csum"), **fields)
    else:
        sent = packets.ipip(frame, **fields)
    assert (XDP_TX, sent) == (action, out)
    assert {"forwarded": 1} == lb.counted
    assert length == lb.stats(REALS[network])["bytes"]


def test_padding_is_kept_and_tags_are_not(lb, network):
    """A jumbo frame keeps padding and loses VLAN tags, as any frame."""
    lb.add_service(ENDPOINTS[network], reals=[REALS[network]])
    frame = segment(5000, network, tags=(packets.service_vlan(3), packets.vlan(5))) + b"padding"
    source = "2001:db8:3::200" if network is ip6 else "192.168.3.200"

    sent = packets.ipip(frame, REALS[network], src=source, hop=SECOND_HOP)
    assert (XDP_TX, sent) == lb.send(frame, ifname=SECOND_IFNAME)


def test_by_another_interface(lb):
    """Jumbo frames are redirected as other frames are."""
    lb.add_service(reals=[REALS[ip]])
    lb.ip("link set ens33 mtu 9000", undo="link set ens33 mtu 1500")
    frame = segment(5000)

    sent = packets.ipip(frame, REALS[ip], src="192.168.3.200", hop=SECOND_HOP)
    assert (XDP_REDIRECT, sent) == lb.send(frame)


@pytest.mark.parametrize("length", [4000, 8981, 9000])
def test_too_big_for_the_path_is_answered(lb, network, length):
    """The answer has the MTU left in the tunnel, quotes the packet's start, and has one buffer."""
    real, left = (packets.RIP6, 1460) if network is ip6 else (packets.RIP, 1480)
    lb.add_service(ENDPOINTS[network], reals=[real])
    frame = segment(length, network)
    answer = packets.too_big6 if network is ip6 else packets.too_big

    assert (XDP_TX, answer(frame, left)) == lb.send(frame, ifname=SECOND_IFNAME)
    assert {"replied_too_big": 1} == lb.counted


@pytest.mark.parametrize("length", [4000, 9001, 20000])
def test_merged_frames_go_up(lb, network, length):
    """A frame longer than the interface's MTU (1500, 9000) was never one packet on the wire: it
    passes unchanged.
    """
    lb.add_service(ENDPOINTS[network], reals=[REALS[network]])
    frame = segment(length, network)
    ifname = SECOND_IFNAME if length > MTU else "ens33"

    assert (XDP_PASS, frame) == lb.send(frame, ifname=ifname)
    assert {"pass_merged": 1} == lb.counted


def test_a_length_beyond_all_buffers_is_a_lie(lb, network):
    """A packet whose length is more than all buffers hold is dropped."""
    lb.add_service(ENDPOINTS[network], reals=[REALS[network]])

    assert XDP_DROP == lb.send(segment(5000, network)[:-1], ifname=SECOND_IFNAME)[0]
    assert {"drop_length": 1} == lb.counted


def test_headers_in_a_later_buffer_go_up(lb):
    """If headers are in a later buffer, the packet passes. It is not malformed."""
    lb.add_service(ENDPOINTS[ip6], reals=[REALS[ip6]])
    extension = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(252))] * 7)
    frame = packets.syn(network=ip6, extensions=(extension, extension))
    assert LINEAR < 14 + 40 + 2 * len(bytes(extension))

    assert (XDP_PASS, frame) == lb.send(frame, ifname=SECOND_IFNAME)
    assert {"pass_split": 1} == lb.counted


def test_errors_that_quote_beyond_it_are_forwarded(lb):
    """An ICMP error of several buffers goes to its flow, if the quoted headers are in the first
    one.
    """
    lb.add_service(reals=[REALS[ip]])
    frame = packets.icmp_error(
        bytes(packets.answer(TCP(sport=80, dport=packets.SPORT))) + bytes(5000),
        error=ICMP(type=3, code=4, nexthopmtu=1400),
        quote=5000,
        ip_flags="DF",
    )

    sent = packets.ipip(frame, REALS[ip], src="192.168.3.200", hop=SECOND_HOP)
    assert (XDP_TX, sent) == lb.send(frame, ifname=SECOND_IFNAME)


def test_large_fragments_follow_the_first(lb):
    """Fragments may be jumbo frames, too."""
    lb.add_service(reals=[REALS[ip]], udp=True)
    pieces = packets.fragments(8000, UDP(sport=9, dport=80), payload=20000)

    for frame in pieces:
        action, out = lb.send(frame, ifname=SECOND_IFNAME)
        number = packets.outer_id(out)
        sent = packets.ipip(frame, REALS[ip], src="192.168.3.200", hop=SECOND_HOP, id=number)
        assert (XDP_TX, sent) == (action, out)
    assert 3 == len(pieces)
