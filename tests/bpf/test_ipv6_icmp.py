# SPDX-License-Identifier: MIT
"""Packets that do not fit the path to their real, where either is of IPv6."""

import packets
import pytest
from balancer import XDP_DROP, XDP_PASS, XDP_TX
from packets import RIP, RIP6, VIP, VIP6, ip, ip6
from scapy.layers.inet6 import IPv6ExtHdrDestOpt

pytestmark = pytest.mark.root

ENDPOINT, ENDPOINT4 = f"[{VIP6}]:80", f"{VIP}:80"
ETHERNET = 1500
LEAST = 1280  # RFC 8200 §5
HEADERS = {ip: 40, ip6: 60}


def segment(length, network=ip6, **fields):
    """A segment: an IP packet of `size` bytes."""
    return packets.tcp("A", payload=b"x" * (length - HEADERS[network]), network=network, **fields)


def route(lb, real, mtu):
    """A route to the real with this MTU."""
    gateway = "2001:db8:2::1" if ":" in real else "192.168.2.1"
    lb.ip(f"route add {real} via {gateway} mtu lock {mtu}", undo=f"route del {real}")


@pytest.mark.parametrize(("real", "fits"), [(RIP6, ETHERNET - 40), (RIP, ETHERNET - 20)])
def test_ipv6_that_does_not_fit_is_answered(lb, real, fits):
    """The answer is packet too big from the VIP, with the MTU left in the tunnel. It quotes as much
    as fits 1280 bytes.
    """
    lb.add_service(ENDPOINT, reals=[real])
    last, larger = segment(fits), segment(fits + 1)

    assert XDP_TX == lb.send(last)[0]
    assert {"forwarded": 1} == lb.counted
    assert (XDP_TX, packets.too_big6(larger, fits)) == lb.send(larger)
    assert {"replied_too_big": 1} == lb.counted


def test_ipv4_in_ipv6_that_does_not_fit_is_answered(lb):
    """The answer is frag-needed, as in IPv4. The outer header takes 40 bytes."""
    lb.add_service(ENDPOINT4, reals=[RIP6])
    last, larger = segment(1460, ip), segment(1461, ip)
    fragmentable = segment(1461, ip, ip_flags="")

    assert (XDP_TX, packets.ipip(last, RIP6)) == lb.send(last)
    assert (XDP_TX, packets.too_big(larger, 1460)) == lb.send(larger)
    assert (XDP_PASS, fragmentable) == lb.send(fragmentable)
    assert {"forwarded": 1, "replied_too_big": 1, "pass_too_big": 1} == lb.counted


@pytest.mark.parametrize("tags", [(packets.vlan(5),), (packets.service_vlan(7), packets.vlan(5))])
def test_tags_stay_on_answers(lb, tags):
    """The answer goes back into the VLAN it came from."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    frame = segment(1500, tags=tags)

    assert (XDP_TX, packets.too_big6(frame, 1460)) == lb.send(frame)


@pytest.mark.parametrize("payload", [bytes(1401), b"\xff" * 1401, bytes(range(201)) * 7])
def test_checksums_of_answers(lb, payload):
    """The answer's checksum is right for any quote."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    for number in range(20):
        frame = packets.tcp("A", network=ip6, payload=payload, sport=number * 3271, tc=number)

        assert (XDP_TX, packets.too_big6(frame, 1460)) == lb.send(frame)


def test_extension_headers_are_quoted(lb):
    """The quote begins with the IP header, whatever follows it."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    frame = segment(1500, extensions=(IPv6ExtHdrDestOpt(),))

    assert (XDP_TX, packets.too_big6(frame, 1460)) == lb.send(frame)


def test_padding_does_not_count(lb):
    """Padding is not part of the packet's size."""
    lb.add_service(ENDPOINT, reals=[RIP6])

    assert XDP_TX == lb.send(segment(1460) + bytes(100))[0]
    assert {"forwarded": 1} == lb.counted


@pytest.mark.parametrize("source", ["::", "::1", "ff02::1", "ff3e::7"])
def test_who_is_no_single_host_gets_no_answer(lb, source):
    """RFC 4443 §2.4 (e.6): a packet from such a source passes."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    frame = segment(1500, src=source)

    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_too_big": 1} == lb.counted


@pytest.mark.parametrize("group", ["ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"])
def test_what_came_to_a_group_of_the_link_gets_no_answer(lb, group):
    """A packet in a frame to a link-layer group passes, as in IPv4."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    frame = packets.mac(group) + segment(1500)[6:]

    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_too_big": 1} == lb.counted


@pytest.mark.parametrize(
    ("rip", "kind", "added"),
    [
        (RIP, "", 20),
        ("2001:db8:9::9", "", 40),
        ("2001:db8:9::9", " tunnel=gre", 44),
        ("2001:db8:9::9", " tunnel=gre+csum", 48),
        ("2001:db8:9::9", " tunnel=gue:6080", 52),
    ],
)
@pytest.mark.parametrize("left", [1280, 1279, 1250])
def test_a_path_below_ipv6s_least_mtu(lb, rip, kind, added, left):
    """What fits is forwarded; who may send less is told so, but never of less than 1280 bytes.

    What nobody would cut is lost, and counted.
    """
    route(lb, rip, left + added)
    lb.add_service(ENDPOINT, reals=[rip + kind])
    fits, lost, larger = segment(left), segment(LEAST), segment(LEAST + 1)

    assert XDP_TX == lb.send(fits)[0]
    assert (XDP_TX, packets.too_big6(larger, LEAST)) == lb.send(larger)
    assert {"forwarded": 1, "replied_too_big": 1} == lb.counted
    if left < LEAST:
        assert XDP_DROP == lb.send(lost)[0]
        assert {"drop_small_mtu": 1} == lb.counted


@pytest.mark.parametrize("mtu", [1280, 1300])
def test_ipv4_in_ipv6_has_no_least_mtu(lb, mtu):
    """An IPv4 client gets the MTU that is left, however small."""
    route(lb, "2001:db8:9::9", mtu)
    lb.add_service(ENDPOINT4, reals=["2001:db8:9::9"])
    fits, larger = segment(mtu - 40, ip), segment(mtu - 39, ip)

    assert XDP_TX == lb.send(fits)[0]
    assert (XDP_TX, packets.too_big(larger, mtu - 40)) == lb.send(larger)


def test_datagrams_are_answered_too(lb):
    """Path MTU discovery works for UDP too."""
    lb.add_service(ENDPOINT, reals=[RIP6], udp=True)
    frame = packets.udp(network=ip6, payload=bytes(1440))

    assert (XDP_TX, packets.too_big6(frame, 1460)) == lb.send(frame)


def test_answers_are_limited_with_ipv4s(lb, one_cpu):
    """A CPU has one limit of answers per tick for both families."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    lb.add_service()
    assert XDP_TX == lb.send(segment(1500, ip))[0]
    for cpu in lb.tables.cpus.memory:
        cpu.reply_limit.sent = 999

    assert [XDP_TX, XDP_DROP] == [lb.send(segment(1500))[0] for _ in range(2)]
    assert XDP_DROP == lb.send(segment(1500, ip))[0]
    assert {"replied_too_big": 2, "drop_reply_limit": 2} == lb.counted
