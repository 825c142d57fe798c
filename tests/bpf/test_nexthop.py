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
    """A real that was just added forwards its first packet already."""
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
    """The director's ip_forward is off, and its interfaces' too; only lo's is on."""
    lb.add_service()

    assert "0" == sysctls.read("net/ipv4/conf/ens33/forwarding")
    assert XDP_TX == lb.send(SYN)[0]


def test_within_a_tick_nobody_asks_again(lb):
    """The hop is kept: a change of the network is not seen before the next tick."""
    lb.add_service(reals=[RS1])
    lb.send(SYN)
    lb.ip(f"neighbour replace {RS1} lladdr 02:00:00:00:99:99 nud permanent dev ens33")

    assert (XDP_TX, packets.ipip(SYN, RS1, hop=RS1_HOP)) == lb.send(SYN)


# Following what changes.


def test_changed_mac_is_followed(lb):
    """A neighbour that changed its MAC address gets frames there after a tick."""
    lb.add_service(reals=[RS1])
    lb.send(SYN)
    lb.ip(f"neighbour replace {RS1} lladdr 02:00:00:00:99:99 nud permanent dev ens33")
    lb.expire_hop(RS1)
    moved = packets.Hop(dst="02:00:00:00:99:99", src=packets.DIP_MAC)

    assert (XDP_TX, packets.ipip(SYN, RS1, hop=moved)) == lb.send(SYN)
    assert (XDP_TX, packets.ipip(SYN, RS1, hop=moved)) == lb.send(SYN)


def test_directors_own_changed_mac_is_followed(lb):
    """The source of frames is what the interface has now."""
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
    """A route that moved to another interface is followed, with both MAC addresses."""
    lb.add_service(reals=[FAR])
    assert XDP_TX == lb.send(SYN)[0]
    lb.ip(f"route add {FAR}/32 via 192.168.3.1", undo=f"route del {FAR}/32")
    lb.expire_hop(FAR)

    assert (XDP_REDIRECT, packets.ipip(SYN, FAR, hop=SECOND_HOP)) == lb.send(SYN)


def test_changed_mtu_is_followed(lb):
    """What fits the path is decided by its MTU now."""
    lb.add_service()
    request = packets.tcp("A", payload=bytes(1400))
    assert XDP_TX == lb.send(request)[0]
    lb.ip("link set ens33 mtu 1300", undo="link set ens33 mtu 1500")
    lb.expire_hop(FAR)

    assert (XDP_TX, packets.too_big(request, 1280)) == lb.send(request)


def test_changes_go_back_and_forth(lb):
    """Each change is seen, however many there are (two places hold the hops in turn)."""
    lb.add_service(reals=[RS1])
    for last in range(5):
        mac = f"02:00:00:00:99:0{last}"
        lb.ip(f"neighbour replace {RS1} lladdr {mac} nud permanent dev ens33")
        lb.expire_hop(RS1)
        now = packets.Hop(dst=mac, src=packets.DIP_MAC)

        assert (XDP_TX, packets.ipip(SYN, RS1, hop=now)) == lb.send(SYN)


# What cannot be reached.


def test_unresolved_neighbour_drops(lb):
    """A next hop that does not answer: dropped, with a counter that says to look at ARP."""
    lb.add_service(reals=["192.168.2.99"])

    assert XDP_DROP == lb.send(SYN)[0]
    assert {"drop_no_neighbour": 1} == lb.counted


def test_unresolved_neighbour_is_asked_for_again(lb):
    """Once it answers, packets go; no tick need pass."""
    lb.add_service(reals=["192.168.2.99"])
    lb.send(SYN)
    answered = packets.Hop(dst="02:00:00:00:02:63", src=packets.DIP_MAC)
    lb.ip(
        f"neighbour replace 192.168.2.99 lladdr {answered.dst} nud permanent dev ens33",
        undo="neighbour del 192.168.2.99 dev ens33",
    )

    assert (XDP_TX, packets.ipip(SYN, "192.168.2.99", hop=answered)) == lb.send(SYN)


def test_neighbour_that_stopped_answering_keeps_its_address(lb):
    """While a neighbour is asked for again, frames go where it was last."""
    lb.add_service(reals=[RS1])
    lb.send(SYN)
    lb.ip(f"neighbour del {RS1} dev ens33")
    lb.expire_hop(RS1)

    assert (XDP_TX, packets.ipip(SYN, RS1, hop=RS1_HOP)) == lb.send(SYN)


@pytest.fixture
def routed(lb):
    """A real on a route of its own, which tests take away."""
    lb.ip(f"route add {ELSEWHERE}/32 via 192.168.2.1", undo=f"route flush {ELSEWHERE}/32")
    lb.add_service(reals=[ELSEWHERE])
    lb.send(SYN)
    assert {"forwarded": 1} == lb.counted
    return lb


@pytest.mark.parametrize("kind", ["unreachable", "blackhole", "prohibit"])
def test_route_that_went_away_drops(routed, kind):
    """No route to the real any more: dropped, and counted so."""
    subprocess.run(["ip", "route", "replace", kind, f"{ELSEWHERE}/32"], check=True)
    routed.expire_hop(ELSEWHERE)

    assert XDP_DROP == routed.send(SYN)[0]
    assert XDP_DROP == routed.send(SYN)[0]
    assert {"drop_no_route": 2} == routed.counted


def test_route_that_came_back_is_taken(routed):
    """When the route is there again, packets go; no tick need pass."""
    subprocess.run(["ip", "route", "replace", "unreachable", f"{ELSEWHERE}/32"], check=True)
    routed.expire_hop(ELSEWHERE)
    assert XDP_DROP == routed.send(SYN)[0]

    back = ["ip", "route", "replace", f"{ELSEWHERE}/32", "via", "192.168.2.1"]
    subprocess.run(back, check=True)

    assert (XDP_TX, packets.ipip(SYN, ELSEWHERE)) == routed.send(SYN)


# Other ways out.


def test_another_interface_is_redirected_to(lb):
    """A real behind another interface: a redirect, under its own counter."""
    lb.add_service(reals=[BEHIND_SECOND])

    assert (
        XDP_REDIRECT,
        packets.ipip(SYN, BEHIND_SECOND, src="192.168.3.200", hop=SECOND_HOP),
    ) == (lb.send(SYN))
    assert {"forwarded_redirect": 1} == lb.counted
    assert 1 == lb.stats(BEHIND_SECOND)["packets"]


def test_coming_in_there_it_is_sent_back(lb):
    """The same real, for a packet that came in on that interface: XDP_TX."""
    lb.add_service(reals=[BEHIND_SECOND])

    out = lb.send(SYN, ifname="ens160")

    assert (XDP_TX, packets.ipip(SYN, BEHIND_SECOND, src="192.168.3.200", hop=SECOND_HOP)) == out
    assert {"forwarded": 1} == lb.counted


def test_redirected_frame_arrives(lb):
    """Sent for real: the frame comes out of the other interface, whole."""
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
    """Those are of the way it came."""
    lb.add_service(reals=[BEHIND_SECOND])
    syn = packets.syn(tags=(vlan(5),))

    assert (
        XDP_REDIRECT,
        packets.ipip(syn, BEHIND_SECOND, src="192.168.3.200", hop=SECOND_HOP),
    ) == (lb.send(syn))


@pytest.mark.parametrize("address", [packets.DIP, "127.0.0.1"])
def test_local_real_goes_up(lb, address):
    """A real that is the director itself: its packets go up as they came."""
    lb.add_service(reals=[address])

    assert (XDP_PASS, SYN) == lb.send(SYN)
    assert {"pass_local": 1} == lb.counted


def test_local_real_has_flows(lb):
    """By turns, a local real's connections are recorded as any other's."""
    lb.add_service(reals=[packets.DIP, FAR], scheduler="rr")

    seen = [lb.send(packets.syn(sport=port))[0] for port in range(4)]

    assert [XDP_TX, XDP_PASS] * 2 == seen
    assert seen == [lb.send(packets.ack(sport=port))[0] for port in range(4)]
    assert [("ESTABLISHED", FAR)] * 2 + [("ESTABLISHED", packets.DIP)] * 2 == lb.flows


def test_source_is_the_routes(lb):
    """The outer source is the address that the kernel would send from there."""
    lb.ip("route add 10.7.0.0/24 via 192.168.2.1 src 192.168.3.200", undo="route del 10.7.0.0/24")
    lb.add_service(reals=[ELSEWHERE])

    assert (XDP_TX, packets.ipip(SYN, ELSEWHERE, src="192.168.3.200")) == lb.send(SYN)
