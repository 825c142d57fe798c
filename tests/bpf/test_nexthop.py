# SPDX-License-Identifier: MIT
"""Where a real's frames leave: asked of the kernel's FIB by the program itself, once a tick."""

import socket
import subprocess

import packets
import pytest
from balancer import SYN, XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX
from network import NEIGHBOURS, RS1, RS1_HOP, SECOND_HOP, ip_batch
from packets import vlan

from xdplb.host import sysctls
from xdplb.kernel import libbpf

pytestmark = pytest.mark.root

FAR, BEHIND_SECOND, ELSEWHERE = "192.168.0.7", "10.3.0.7", "10.7.0.1"
PASS_PROGRAM = bytes.fromhex("b7000000020000009500000000000000")  # return XDP_PASS


def hop(lb, real):
    """The next hop in use for a real."""
    record = lb.tables.reals[lb.index(real)]
    return record.hop[record.active]


# Asking.


def test_first_packet_asks_the_fib(lb):
    """A new real's first packet is forwarded."""
    lb.add_service(reals=[FAR])
    before = hop(lb, FAR).ifindex

    out = lb.send(SYN)

    assert 0 == before
    assert (XDP_TX, packets.ipip(SYN, FAR)) == out
    assert {"forwarded": 1} == lb.counted


def test_real_on_the_directors_link_gets_its_own_mac(lb):
    """A real on the same link is its own next hop."""
    lb.add_service(reals=[RS1])

    assert (XDP_TX, packets.ipip(SYN, RS1, hop=RS1_HOP)) == lb.send(SYN)


def test_director_need_not_forward(lb):
    """Forwarding is off for the director and its interfaces, and on for lo only."""
    lb.add_service()

    assert "0" == sysctls.read("net/ipv4/conf/ens33/forwarding")
    assert XDP_TX == lb.send(SYN)[0]


def test_within_a_tick_nobody_asks_again(lb):
    """The hop is kept for a tick: a change of the network is not seen before the next one."""
    lb.add_service(reals=[RS1])
    lb.send(SYN)
    lb.ip(f"neighbour replace {RS1} lladdr 02:00:00:00:99:99 nud permanent dev ens33")

    assert (XDP_TX, packets.ipip(SYN, RS1, hop=RS1_HOP)) == lb.send(SYN)


# Following what changes.


def test_changed_mac_is_followed(lb):
    """If a neighbour's MAC address changes, frames go there after a tick."""
    lb.add_service(reals=[RS1])
    lb.send(SYN)
    lb.ip(f"neighbour replace {RS1} lladdr 02:00:00:00:99:99 nud permanent dev ens33")
    lb.expire_hop(RS1)
    moved = packets.Hop(dst="02:00:00:00:99:99", src=packets.DIP_MAC)

    assert (XDP_TX, packets.ipip(SYN, RS1, hop=moved)) == lb.send(SYN)
    assert (XDP_TX, packets.ipip(SYN, RS1, hop=moved)) == lb.send(SYN)


def test_directors_own_changed_mac_is_followed(lb):
    """The source MAC is the one that the interface has now."""
    lb.add_service()
    lb.send(SYN)
    lb.ip(
        "link set ens33 address 02:00:00:00:99:98",
        undo=f"link set ens33 address {packets.DIP_MAC}",
    )
    ip_batch(NEIGHBOURS)  # the kernel forgets them with the address
    lb.expire_hop(FAR)
    changed = packets.Hop(dst=packets.GATEWAY_MAC, src="02:00:00:00:99:98")

    assert (XDP_TX, packets.ipip(SYN, FAR, hop=changed)) == lb.send(SYN)


def test_changed_route_is_followed(lb):
    """If a route moves to another interface, both MAC addresses follow."""
    lb.add_service(reals=[FAR])
    assert XDP_TX == lb.send(SYN)[0]
    lb.ip(f"route add {FAR}/32 via 192.168.3.1", undo=f"route del {FAR}/32")
    lb.expire_hop(FAR)

    assert (XDP_REDIRECT, packets.ipip(SYN, FAR, hop=SECOND_HOP)) == lb.send(SYN)


def test_changed_mtu_is_followed(lb):
    """The path's present MTU decides what fits."""
    lb.add_service()
    request = packets.tcp("A", payload=bytes(1400))
    assert XDP_TX == lb.send(request)[0]
    lb.ip("link set ens33 mtu 1300", undo="link set ens33 mtu 1500")
    lb.expire_hop(FAR)

    assert (XDP_TX, packets.too_big(request, 1280)) == lb.send(request)


def test_changes_go_back_and_forth(lb):
    """Each of many changes is seen. (A real has two hops, used in turn.)"""
    lb.add_service(reals=[RS1])
    for last in range(5):
        mac = f"02:00:00:00:99:0{last}"
        lb.ip(f"neighbour replace {RS1} lladdr {mac} nud permanent dev ens33")
        lb.expire_hop(RS1)
        now = packets.Hop(dst=mac, src=packets.DIP_MAC)

        assert (XDP_TX, packets.ipip(SYN, RS1, hop=now)) == lb.send(SYN)


# What cannot be reached.


def test_unresolved_neighbour_drops(lb):
    """If a next hop does not answer, packets are dropped, with a counter that points to ARP."""
    lb.add_service(reals=["192.168.2.99"])

    assert XDP_DROP == lb.send(SYN)[0]
    assert {"drop_no_neighbour": 1} == lb.counted


def test_unresolved_neighbour_is_asked_for_again(lb):
    """When it answers, packets are forwarded at once, before the next tick."""
    lb.add_service(reals=["192.168.2.99"])
    lb.send(SYN)
    answered = packets.Hop(dst="02:00:00:00:02:63", src=packets.DIP_MAC)
    lb.ip(
        f"neighbour replace 192.168.2.99 lladdr {answered.dst} nud permanent dev ens33",
        undo="neighbour del 192.168.2.99 dev ens33",
    )

    assert (XDP_TX, packets.ipip(SYN, "192.168.2.99", hop=answered)) == lb.send(SYN)


def test_neighbour_that_stopped_answering_keeps_its_address(lb):
    """While a neighbour is resolved again, frames go to its last address."""
    lb.add_service(reals=[RS1])
    lb.send(SYN)
    lb.ip(f"neighbour del {RS1} dev ens33")
    lb.expire_hop(RS1)

    assert (XDP_TX, packets.ipip(SYN, RS1, hop=RS1_HOP)) == lb.send(SYN)


@pytest.fixture
def routed(lb):
    """A real on a route of its own, which the tests remove."""
    lb.ip(f"route add {ELSEWHERE}/32 via 192.168.2.1", undo=f"route flush {ELSEWHERE}/32")
    lb.add_service(reals=[ELSEWHERE])
    lb.send(SYN)
    assert {"forwarded": 1} == lb.counted
    return lb


@pytest.mark.parametrize("kind", ["unreachable", "blackhole", "prohibit"])
def test_route_that_went_away_drops(routed, kind):
    """Without a route to the real, packets are dropped and counted."""
    subprocess.run(["ip", "route", "replace", kind, f"{ELSEWHERE}/32"], check=True)
    routed.expire_hop(ELSEWHERE)

    assert XDP_DROP == routed.send(SYN)[0]
    assert XDP_DROP == routed.send(SYN)[0]
    assert {"drop_no_route": 2} == routed.counted


def test_route_that_came_back_is_taken(routed):
    """When the route is back, packets are forwarded at once, before the next tick."""
    subprocess.run(["ip", "route", "replace", "unreachable", f"{ELSEWHERE}/32"], check=True)
    routed.expire_hop(ELSEWHERE)
    assert XDP_DROP == routed.send(SYN)[0]

    back = ["ip", "route", "replace", f"{ELSEWHERE}/32", "via", "192.168.2.1"]
    subprocess.run(back, check=True)

    assert (XDP_TX, packets.ipip(SYN, ELSEWHERE)) == routed.send(SYN)


# Other ways out.


def test_another_interface_is_redirected_to(lb):
    """Packets to a real behind another interface are redirected, with their own counter."""
    lb.add_service(reals=[BEHIND_SECOND])

    assert (
        XDP_REDIRECT,
        packets.ipip(SYN, BEHIND_SECOND, src="192.168.3.200", hop=SECOND_HOP),
    ) == (lb.send(SYN))
    assert {"forwarded_redirect": 1} == lb.counted
    assert 1 == lb.stats(BEHIND_SECOND)["packets"]


def test_coming_in_there_it_is_sent_back(lb):
    """A packet for that real that came in on that interface is sent back: XDP_TX."""
    lb.add_service(reals=[BEHIND_SECOND])

    out = lb.send(SYN, ifname="ens160")

    assert (XDP_TX, packets.ipip(SYN, BEHIND_SECOND, src="192.168.3.200", hop=SECOND_HOP)) == out
    assert {"forwarded": 1} == lb.counted


def test_redirected_frame_arrives(lb):
    """A live frame comes out of the other interface, whole."""
    lb.add_service(reals=[BEHIND_SECOND])
    expected = packets.ipip(SYN, BEHIND_SECOND, src="192.168.3.200", hop=SECOND_HOP)
    # A veth takes redirected frames only if its peer runs an XDP program.
    peer = socket.if_nametoindex("peer160")
    program = libbpf.prog_load(PASS_PROGRAM)
    link = libbpf.link_create(program, peer, libbpf.XDP_FLAGS_DRV_MODE)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as receiver:
        receiver.bind(("peer160", 0))
        receiver.settimeout(5)
        libbpf.prog_test_run(lb.fd, SYN, ifindex=lb.ifindex, live=True)
        frames = iter(lambda: receiver.recv(2000), b"")

        assert expected == next(frame for frame in frames if frame[23] == 4)
    libbpf.link_detach(link)


def test_tagged_frames_are_redirected_without_their_tags(lb):
    """A redirected frame loses the tags that it came with."""
    lb.add_service(reals=[BEHIND_SECOND])
    syn = packets.syn(tags=(vlan(5),))

    assert (
        XDP_REDIRECT,
        packets.ipip(syn, BEHIND_SECOND, src="192.168.3.200", hop=SECOND_HOP),
    ) == (lb.send(syn))


@pytest.mark.parametrize("address", [packets.DIP])
def test_local_real_goes_up(lb, address):
    """Packets of a real that is the director itself pass unchanged."""
    lb.add_service(reals=[address])

    assert (XDP_PASS, SYN) == lb.send(SYN)
    assert {"pass_local": 1} == lb.counted


def test_local_real_has_flows(lb):
    """With turns, a local real's connections are recorded as any other's."""
    lb.add_service(reals=[packets.DIP, FAR], scheduler="rr")

    seen = [lb.send(packets.syn(sport=port))[0] for port in range(4)]

    assert [XDP_TX, XDP_PASS] * 2 == seen
    assert seen == [lb.send(packets.ack(sport=port))[0] for port in range(4)]
    assert [("ESTABLISHED", FAR)] * 2 + [("ESTABLISHED", packets.DIP)] * 2 == lb.flows


def test_source_is_the_routes(lb):
    """The outer source is the address that the kernel would use for that route."""
    lb.ip("route add 10.7.0.0/24 via 192.168.2.1 src 192.168.3.200", undo="route del 10.7.0.0/24")
    lb.add_service(reals=[ELSEWHERE])

    assert (XDP_TX, packets.ipip(SYN, ELSEWHERE, src="192.168.3.200")) == lb.send(SYN)
