# SPDX-License-Identifier: MIT
"""VLAN tags: a frame that goes up or back has those it came with, a forwarded one its way's.

Where the route leads to a VLAN device is told by the table `vlans`; here ens160 plays that part.
"""

from socket import if_nametoindex

import packets
import pytest
from balancer import XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX
from network import SECOND_HOP, SECOND_IFNAME
from packets import service_vlan, vlan

from xdplb.model.network import Vlan

pytestmark = pytest.mark.root

BEHIND = {packets.ip: "10.3.0.7", packets.ip6: "2001:db8:a3::7"}  # by ens160
SOURCES = {packets.ip: "192.168.3.200", packets.ip6: "2001:db8:3::200"}
WAYS = {
    ((0x8100, 10),): (vlan(10),),
    ((0x88A8, 4094), (0x8100, 1)): (service_vlan(4094), vlan(1)),
}

TAGS = {
    "802.1Q": (vlan(5, prio=3),),
    "802.1ad": (service_vlan(7),),
    "two": (service_vlan(7, prio=7, dei=1), vlan(5)),
    "two of 802.1Q": (vlan(4094), vlan(1)),
}
TAGGED = pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)


@TAGGED
def test_tags_of_the_way_it_came_are_taken_off(lb, tags):
    """A tagged frame for a real on an untagged network leaves without tags."""
    lb.add_service()
    syn = packets.syn(tags=tags)

    out = lb.send(syn)

    assert (XDP_TX, packets.ipip(syn)) == out
    assert {"forwarded": 1} == lb.counted


def vlans(lb, tags, parent="ens33"):
    """Make ens160 a VLAN device on an interface."""
    second = if_nametoindex(SECOND_IFNAME)
    lb.tables.put_vlans({second: Vlan(if_nametoindex(parent), tags)})


def wrapped(frame, network, tags):
    """The frame as it leaves by ens160's route."""
    fields = {"src": SOURCES[network], "hop": SECOND_HOP, "tags": tags}
    return packets.ipip(frame, BEHIND[network], **fields)


@pytest.mark.parametrize("network", BEHIND, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("tags", WAYS, ids=len)
@pytest.mark.parametrize("came", [(), (vlan(10),), (service_vlan(7), vlan(5))], ids=len)
def test_a_real_behind_a_vlan_device(lb, network, tags, came):
    """What its route says: by the interface below, with the device's tags, whatever it came with.

    By the one that it came in on it is sent back; by another one redirected.
    """
    vip = packets.VIP if network is packets.ip else f"[{packets.VIP6}]"
    lb.add_service(f"{vip}:80", reals=[BEHIND[network]])
    syn = packets.syn(network=network, tags=came)

    vlans(lb, tags)
    assert (XDP_TX, wrapped(syn, network, WAYS[tags])) == lb.send(syn)
    lb.expire_hop(BEHIND[network])
    vlans(lb, tags, "spare")
    assert (XDP_REDIRECT, wrapped(syn, network, WAYS[tags])) == lb.send(syn)

    assert {"forwarded": 1, "forwarded_redirect": 1} == lb.counted


def test_attached_to_the_vlan_device_itself(lb):
    """Frames come and leave there without tags: the device adds and removes them."""
    lb.add_service(reals=[BEHIND[packets.ip]])
    vlans(lb, ((0x8100, 10),))
    syn = packets.syn()

    assert (XDP_TX, wrapped(syn, packets.ip, ())) == lb.send(syn, ifname=SECOND_IFNAME)


def test_a_vlan_device_that_comes_or_goes_is_noticed(lb):
    """It is noticed with the hop, once a tick, even if nothing else of the hop changes."""
    lb.add_service(reals=[BEHIND[packets.ip]])
    syn = packets.syn()
    for tags in (((0x8100, 10),), ((0x8100, 11),)):
        vlans(lb, tags)
        lb.expire_hop(BEHIND[packets.ip])
        expected = tuple(vlan(number) for _, number in tags)
        assert (XDP_TX, wrapped(syn, packets.ip, expected)) == lb.send(syn)

    lb.tables.put_vlans({})
    lb.expire_hop(BEHIND[packets.ip])

    assert (XDP_REDIRECT, wrapped(syn, packets.ip, ())) == lb.send(syn)


def test_devices_of_more_than_two_tags_are_left_out(lb):
    """A frame has no room for more than two tags."""
    vlans(lb, ((0x88A8, 1), (0x8100, 2), (0x8100, 3)))
    lb.add_service(reals=[BEHIND[packets.ip]])
    syn = packets.syn()

    assert (XDP_REDIRECT, wrapped(syn, packets.ip, ())) == lb.send(syn)


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
    """A tagged frame that passes is byte for byte the frame that came."""
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
    """Malformed packets are found behind tags too."""
    lb.add_service()

    action, _ = lb.send(packets.syn(tags=tags, ihl=4))

    assert XDP_DROP == action
    assert {"drop_malformed": 1} == lb.counted


def test_a_third_tag_is_not_read(lb):
    """A frame with three tags is not IPv4 for the program: it passes unchanged."""
    lb.add_service()
    frame = packets.syn(tags=(service_vlan(7), vlan(5), vlan(6)))

    out = lb.send(frame)

    assert (XDP_PASS, frame) == out
    assert {"pass_not_ip": 1} == lb.counted


@pytest.mark.parametrize("length", range(14, 26))
def test_frames_cut_within_their_tags_pass(lb, length):
    """A frame that is cut anywhere in its tags passes unchanged."""
    lb.add_service()
    frame = packets.syn(tags=TAGS["two"])[:length]

    out = lb.send(frame)

    assert (XDP_PASS, frame) == out
    assert [1] == list(lb.counted.values())


def test_one_flow_in_two_vlans_is_one_flow(lb):
    """Tags are not part of a flow's identity."""
    lb.add_service(reals=["192.168.0.7", "192.168.0.8"], scheduler="rr")
    real = lb.real_of(packets.syn(tags=TAGS["802.1Q"]))

    assert real == lb.real_of(packets.ack())
    assert [("ESTABLISHED", real)] == lb.flows
