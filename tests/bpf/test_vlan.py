# SPDX-License-Identifier: MIT
"""VLAN tags stay on a frame, whatever becomes of it."""

import packets
import pytest
from balancer import XDP_DROP, XDP_PASS, XDP_TX
from packets import service_vlan, vlan

pytestmark = pytest.mark.root

TAGS = {
    "802.1Q": (vlan(5, prio=3),),
    "802.1ad": (service_vlan(7),),
    "two": (service_vlan(7, prio=7, dei=1), vlan(5)),
    "two of 802.1Q": (vlan(4094), vlan(1)),
}
TAGGED = pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)


@TAGGED
def test_tags_stay_on_forwarded_frames(lb, tags):
    """A tagged frame leaves with its tags between the new MACs and the outer header."""
    lb.add_service()
    syn = packets.syn(tags=tags)

    out = lb.send(syn)

    assert (XDP_TX, packets.ipip(syn)) == out
    assert {"forwarded": 1} == lb.counted


@TAGGED
@pytest.mark.parametrize(
    ("make", "counter"),
    [
        (lambda tags: packets.syn(tags=tags, dst="10.0.0.81"), "pass_not_vip"),
        (lambda tags: packets.syn(tags=tags, dport=81), "pass_no_service"),
        (lambda tags: packets.syn(tags=tags, ttl=1), "pass_ttl"),
        (lambda tags: packets.icmp(tags=tags), "pass_icmp"),
        (lambda tags: packets.arp(*tags), "pass_not_ip"),
        (lambda tags: packets.ipv6(*tags), "pass_not_vip"),
        (lambda tags: packets.syn(tags=tags)[: 14 + 4 * len(tags) + 19], "pass_truncated"),
        (lambda tags: packets.syn(tags=tags)[: 14 + 4 * len(tags)], "pass_truncated"),
    ],
)
def test_tags_stay_on_passing_frames(lb, tags, make, counter):
    """A tagged frame that goes up is byte for byte what came in."""
    lb.add_service()
    frame = make(tags)

    out = lb.send(frame)

    assert (XDP_PASS, frame) == out
    assert {counter: 1} == lb.counted


@TAGGED
def test_tags_stay_on_replies(lb, tags):
    """The answer to a packet that is too big goes back into the VLAN it came from."""
    lb.add_service()
    frame = packets.tcp("A", payload=bytes(1445), tags=tags)

    out = lb.send(frame)

    assert (XDP_TX, packets.too_big(frame, 1480)) == out
    assert {"replied_too_big": 1} == lb.counted


@TAGGED
def test_malformed_frames_are_dropped_behind_tags(lb, tags):
    """Tags hide no malformed packet from the program."""
    lb.add_service()

    action, _ = lb.send(packets.syn(tags=tags, ihl=4))

    assert XDP_DROP == action
    assert {"drop_malformed": 1} == lb.counted


def test_a_third_tag_is_not_read(lb):
    """Three tags are no IPv4 to the program: the frame passes as it came."""
    lb.add_service()
    frame = packets.syn(tags=(service_vlan(7), vlan(5), vlan(6)))

    out = lb.send(frame)

    assert (XDP_PASS, frame) == out
    assert {"pass_not_ip": 1} == lb.counted


@pytest.mark.parametrize("length", range(14, 26))
def test_frames_cut_within_their_tags_pass(lb, length):
    """However little of the tags there is, the frame passes as it came."""
    lb.add_service()
    frame = packets.syn(tags=TAGS["two"])[:length]

    out = lb.send(frame)

    assert (XDP_PASS, frame) == out
    assert [1] == list(lb.counted.values())


def test_one_flow_in_two_vlans_is_one_flow(lb):
    """Tags do not tell flows apart."""
    lb.add_service(reals=["192.168.0.7", "192.168.0.8"], scheduler="rr")
    real = lb.real_of(packets.syn(tags=TAGS["802.1Q"]))

    assert real == lb.real_of(packets.ack())
    assert [("ESTABLISHED", real)] == lb.flows
