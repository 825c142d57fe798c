# SPDX-License-Identifier: MIT
"""Packets that do not fit the path to their real once they are wrapped."""

import packets
import pytest
from balancer import XDP_PASS, XDP_TX

pytestmark = pytest.mark.root

FITS = 1500 - 20  # bytes of IP packet inside the tunnel, on Ethernet
HEADERS = 40
REPLIES_PER_TICK = 1000  # bpf/icmp.h


def segment(length, **fields):
    """A segment: an IP packet of `size` bytes."""
    return packets.tcp("A", payload=b"x" * (length - HEADERS), **fields)


@pytest.fixture
def served(lb):
    """A director with one service of TCP and one of UDP."""
    lb.add_service()
    lb.add_service(udp=True)
    return lb


def test_largest_packet_that_fits_is_forwarded(served):
    """The outer header takes 20 bytes of the path's MTU: packets of 1480 bytes fit."""
    frame = segment(FITS)

    assert (XDP_TX, packets.ipip(frame)) == served.send(frame)
    assert {"forwarded": 1} == served.counted


@pytest.mark.parametrize("length", [FITS + 1, 1500, 2000, 3000])
def test_larger_ones_with_df_are_answered(served, length):
    """With DF, the VIP answers by ICMP, with the MTU left in the tunnel, and quotes 28 bytes."""
    frame = segment(length)

    assert (XDP_TX, packets.too_big(frame, FITS)) == served.send(frame)
    assert {"replied_too_big": 1} == served.counted


def test_datagrams_are_answered_too(served):
    """Path MTU discovery works for UDP too."""
    frame = packets.udp(payload=bytes(1460))

    assert (XDP_TX, packets.too_big(frame, FITS)) == served.send(frame)


@pytest.mark.parametrize("length", [FITS + 1, 1500])
def test_larger_ones_without_df_go_up(served, length):
    """Without DF the packet may be fragmented, but only the kernel can do that: it passes."""
    frame = segment(length, ip_flags="")

    assert (XDP_PASS, frame) == served.send(frame)
    assert {"pass_too_big": 1} == served.counted


def test_larger_ones_with_options_go_up(served):
    """With options, a quote would have no fixed size: the packet passes."""
    frame = segment(1500, options=b"\x01" * 4)

    assert (XDP_PASS, frame) == served.send(frame)
    assert {"pass_too_big": 1} == served.counted


def test_padding_does_not_count(served):
    """Padding is not part of the packet's size, and is not quoted."""
    frame = segment(FITS) + bytes(100)

    assert XDP_TX == served.send(frame)[0]
    assert {"forwarded": 1} == served.counted


@pytest.mark.parametrize(
    ("tos", "quoted"), [(0x00, 0xC0), (0xB8, 0xD8), (0xBB, 0xD8), (0x03, 0xC0)]
)
def test_answers_keep_the_class_of_service_without_ecn(served, tos, quoted):
    """The answer has the packet's DSCP, and is not ECN-capable."""
    frame = segment(1500, tos=tos)

    _, out = served.send(frame)

    assert packets.too_big(frame, FITS) == out
    assert quoted == out[15]


def test_answers_quote_the_packet_as_it_came(served):
    """The quote has the TTL and checksum that the packet came with."""
    frame = segment(1500, ttl=7)

    _, out = served.send(frame)

    assert frame[14:42] == out[-28:]


def test_the_routes_mtu_counts(lb):
    """If a route's locked MTU is smaller than the interface's, it counts."""
    lb.ip("route add 10.7.0.0/24 via 192.168.2.1 mtu lock 1400", undo="route del 10.7.0.0/24")
    lb.add_service(reals=["10.7.0.1"])
    fits, larger = segment(1380), segment(1381)

    assert (XDP_TX, packets.ipip(fits, "10.7.0.1")) == lb.send(fits)
    assert (XDP_TX, packets.too_big(larger, 1380)) == lb.send(larger)


def test_answers_are_limited(served, one_cpu):
    """A CPU sends a thousand answers a tick. Packets beyond that are dropped and counted."""
    frame = segment(1500)
    first = served.tick
    answers = 0
    while XDP_TX == served.send(frame)[0]:
        answers += 1
    ticks = served.tick - first + 1

    assert REPLIES_PER_TICK <= answers <= REPLIES_PER_TICK * ticks
    assert {"replied_too_big": answers, "drop_reply_limit": 1} == served.counted


def test_the_limit_is_for_a_tick(served, one_cpu):
    """In the next tick, answers are sent again."""
    frame = segment(1500)
    while XDP_TX == served.send(frame)[0]:
        pass
    for cpu in served.tables.cpus.memory:
        cpu.reply_limit.tick -= 1

    assert (XDP_TX, packets.too_big(frame, FITS)) == served.send(frame)


def test_answered_packets_are_no_traffic_of_the_real(served):
    """A packet that was not forwarded is not in the real's figures."""
    served.send(segment(1500))

    assert 0 == sum(served.stats(packets.RIP).values())
