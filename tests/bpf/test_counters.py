# SPDX-License-Identifier: MIT
"""Every packet ends in exactly one counter, and forwarded ones in their real's too."""

import os

import packets
import pytest
from balancer import ACK, SYN, XDP_TX
from packets import vlan

pytestmark = pytest.mark.root

A, B = "192.168.0.7", "192.168.0.8"


def test_real_counts_packets_bytes_and_flows(lb):
    """A real's packets, the bytes of their IP packets as they came, and its new flows."""
    lb.add_service(reals=[A], scheduler="rr")
    frames = [SYN, ACK, packets.tcp("PA", payload=bytes(100)), packets.fin()]

    for frame in frames:
        lb.send(frame)

    assert {"packets": 4, "bytes": 40 + 40 + 140 + 40, "flows": 1} == lb.stats(A)


def test_reals_count_apart(lb):
    """Each real has its own figures."""
    lb.add_service(reals=[A, B], scheduler="rr")
    for port in range(3):
        lb.establish(sport=port)

    assert (2, 1) == (lb.stats(B)["flows"], lb.stats(A)["flows"])
    assert (4, 2) == (lb.stats(B)["packets"], lb.stats(A)["packets"])


def test_padding_and_tags_are_no_bytes(lb):
    """Bytes are those of the IP packet by its header, not of the frame."""
    lb.add_service(reals=[A])

    lb.send(packets.syn(tags=(vlan(5),)) + bytes(30))

    assert {"packets": 1, "bytes": 40, "flows": 1} == lb.stats(A)


def test_udp_counts_flows_by_record(lb):
    """A UDP flow begins with the datagram that finds no record."""
    lb.add_service(reals=[A], udp=True)

    for port in (1, 1, 2):
        lb.send(packets.udp(sport=port))

    assert (3, 2) == (lb.stats(A)["packets"], lb.stats(A)["flows"])


def test_repeated_syn_is_one_flow(lb):
    """A retransmission is not counted as another flow, where flows are recorded."""
    lb.add_service(reals=[A], scheduler="rr")

    for frame in (SYN, SYN, ACK):
        lb.send(frame)

    assert (3, 1) == (lb.stats(A)["packets"], lb.stats(A)["flows"])


@pytest.mark.parametrize(
    "frame",
    [
        packets.syn(ttl=1),
        packets.syn(ihl=4),
        packets.icmp(),
        packets.syn(dport=81),
        packets.syn(dst="10.0.0.81"),
        packets.tcp("A", payload=bytes(1460)),
    ],
)
def test_what_is_not_forwarded_is_counted_of_no_real(lb, frame):
    """What passes or is dropped is in no real's figures."""
    lb.add_service(reals=[A])

    lb.send(frame)

    assert {"packets": 0, "bytes": 0, "flows": 0} == lb.stats(A)
    assert 1 == sum(lb.counted.values())


def test_new_reals_begin_at_0(lb):
    """The place of a real that was removed is counted anew for the next one."""
    lb.add_service(reals=[A], scheduler="rr")
    lb.establish()
    place = lb.index(A)
    lb.remove_real(A)
    with lb.rewriting_state() as state:
        state.allocated.next_real = place

    lb.add_real(B)

    assert place == lb.index(B)
    assert {"packets": 0, "bytes": 0, "flows": 0} == lb.stats(B)


def test_all_cpus_are_summed(lb):
    """What each CPU counted is one figure."""
    lb.add_service(reals=[A])
    home = os.sched_getaffinity(0)
    for cpu in sorted(home):
        os.sched_setaffinity(0, {cpu})
        assert XDP_TX == lb.send(SYN)[0]
    os.sched_setaffinity(0, home)

    assert {"forwarded": len(home)} == lb.counted
    assert len(home) == lb.stats(A)["packets"]
