# SPDX-License-Identifier: MIT
"""IPv6 services and reals, and services of one family over reals of the other."""

import itertools
from collections import Counter
from ipaddress import IPv6Address

import packets
import pytest
from balancer import XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX
from network import SECOND_HOP
from packets import CIP6, RIP, RIP6, VIP, VIP6, ip, ip6, service_vlan, vlan
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS
from scapy.packet import Raw

from xdplb.model.address import parse_address, parse_prefix
from xdplb.model.schedulers import SCHEDULERS, choose_real

pytestmark = pytest.mark.root

ENDPOINT = f"[{VIP6}]:80"
SERVICES = {"IPv4": (f"{VIP}:80", ip), "IPv6": (ENDPOINT, ip6)}
REALS = {"IPv4": RIP, "IPv6": RIP6}
FAMILIES = list(itertools.product(SERVICES, REALS))
NOT_ECT, ECT_1, ECT_0, CE = range(4)
EF = 46 << 2
SYN6 = packets.syn(network=ip6)


@pytest.fixture(params=FAMILIES, ids=lambda pair: f"{pair[0]}-in-{pair[1]}")
def families(request, lb):
    """A TCP and a UDP service of one family over a real of either: the director, what they come in,
    and the real.
    """
    service, real = request.param
    endpoint, network = SERVICES[service]
    lb.add_service(endpoint, reals=[REALS[real]])
    lb.add_service(endpoint, reals=[REALS[real]], udp=True)
    return lb, network, REALS[real]


@pytest.fixture
def served(lb):
    """An IPv6 TCP service and an IPv6 UDP service."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    lb.add_service(ENDPOINT, reals=[RIP6], udp=True)
    return lb


def test_ipv6_leaves_in_ipv6(lb):
    """A SYN to an IPv6 VIP is sent to its real, wrapped once, otherwise untouched."""
    lb.add_service("[2001:db8:80::80]:80", reals=["2001:db8:9::7"])
    syn = packets.syn(network=ip6, dst="2001:db8:80::80", dport=80)

    out = lb.send(syn)

    assert (XDP_TX, packets.ipip(syn, dst="2001:db8:9::7")) == out
    assert {"forwarded": 1} == lb.counted


@pytest.mark.parametrize("make", [packets.syn, packets.ack, packets.udp])
def test_every_family_in_every_family(families, make):
    """Protocol 4 has IPv4 inside, 41 has IPv6. The outer header has the real's family."""
    lb, network, real = families
    frame = make(network=network)

    action, out = lb.send(frame)

    identity = packets.outer_id(out)
    assert (XDP_TX, packets.ipip(frame, real, id=identity)) == (action, out)
    assert {"forwarded": 1} == lb.counted


def test_ipv6_in_ipv4_may_be_fragmented_by_routers(lb):
    """The outer IPv4 header has no DF, as in IPVS, and so IDs that differ."""
    lb.add_service(ENDPOINT, reals=[RIP])
    syn = packets.syn(network=ip6)

    identities = {packets.outer_id(lb.send(syn)[1]) for _ in range(50)}

    assert len(identities) > 45


@pytest.mark.parametrize("dscp", [0, EF, 0xFC])
@pytest.mark.parametrize("ecn", [NOT_ECT, ECT_1, ECT_0, CE])
def test_class_and_ecn_are_copied(families, dscp, ecn):
    """The outer header has the inner one's DSCP and ECN (RFC 6040), and no flow label."""
    lb, network, real = families
    name = "tos" if network is ip else "tc"
    syn = packets.syn(network=network, **{name: dscp | ecn})

    action, out = lb.send(syn)

    identity = packets.outer_id(out)
    assert (XDP_TX, packets.ipip(syn, real, id=identity)) == (action, out)


@pytest.mark.parametrize("hops", [2, 3, 64, 255])
def test_a_hop_is_spent_inside_and_the_rest_copied_outside(families, hops):
    """The inner TTL or hop limit is one less, and the outer one is the same."""
    lb, network, real = families
    syn = packets.syn(network=network, **{"ttl" if network is ip else "hlim": hops})

    action, out = lb.send(syn)

    identity = packets.outer_id(out)
    assert (XDP_TX, packets.ipip(syn, real, id=identity)) == (action, out)
    packet = packets.split(out)[1]
    assert hops - 1 == packet[7 if ":" in real else 8]


@pytest.mark.parametrize("length", [*range(8), 63, 64, 1400])
def test_payloads_of_any_size(families, length):
    """The outer length covers the inner packet."""
    lb, network, real = families
    frame = packets.tcp("PA", network=network, payload=b"x" * length)

    action, out = lb.send(frame)

    identity = packets.outer_id(out)
    assert (XDP_TX, packets.ipip(frame, real, id=identity)) == (action, out)


def test_padding_stays_behind_the_packet(served):
    """Padding stays behind the packet, outside both lengths."""
    syn = packets.syn(network=ip6) + bytes(6)

    assert (XDP_TX, packets.ipip(syn, RIP6)) == served.send(syn)


@pytest.mark.parametrize("tags", [(vlan(5),), (service_vlan(7), vlan(5))], ids=len)
def test_tags_are_of_the_way_it_came(families, tags):
    """Up to two VLAN tags are removed: the frame that leaves has its route's tags."""
    lb, network, real = families
    syn = packets.syn(network=network, tags=tags)

    action, out = lb.send(syn)

    identity = packets.outer_id(out)
    assert (XDP_TX, packets.ipip(syn, real, id=identity)) == (action, out)


def test_a_real_behind_another_interface(lb):
    """An IPv6 real's frames leave where the FIB says."""
    lb.add_service(ENDPOINT, reals=["2001:db8:a3::7"])
    syn = packets.syn(network=ip6)

    action, out = lb.send(syn)

    wrapped = packets.ipip(syn, "2001:db8:a3::7", src="2001:db8:3::200", hop=SECOND_HOP)
    assert (XDP_REDIRECT, wrapped) == (action, out)
    assert {"forwarded_redirect": 1} == lb.counted


def test_a_lost_route_is_noticed(lb):
    """The FIB is asked once a tick, for IPv6 as for IPv4."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    assert XDP_TX == lb.send(SYN6)[0]

    lb.ip(f"route add unreachable {RIP6}", undo=f"route del unreachable {RIP6}")
    lb.expire_hop(RIP6)

    assert XDP_DROP == lb.send(SYN6)[0]
    assert {"forwarded": 1, "drop_no_route": 1} == lb.counted


def test_no_neighbour(lb):
    """If the next hop does not answer neighbour solicitations, a counter of its own says so."""
    lb.add_service(ENDPOINT, reals=["2001:db8:2::99"])

    assert XDP_DROP == lb.send(packets.syn(network=ip6))[0]
    assert {"drop_no_neighbour": 1} == lb.counted


def test_a_real_that_is_the_director_itself(lb):
    """Packets to a real on the director itself pass."""
    lb.add_service(ENDPOINT, reals=[packets.DIP6])
    syn = packets.syn(network=ip6)

    assert (XDP_PASS, syn) == lb.send(syn)
    assert {"pass_local": 1} == lb.counted


def test_both_families_of_one_port_are_services_of_their_own(lb):
    """An IPv4 and an IPv6 VIP have separate services on the same port."""
    lb.add_service(f"{VIP}:80", reals=[RIP])
    lb.add_service(ENDPOINT, reals=[RIP6])

    assert RIP == lb.real_of(packets.syn())
    assert RIP6 == lb.real_of(packets.syn(network=ip6))


def test_an_ipv4_address_in_ipv6_is_no_vip(lb):
    """An IPv6 packet to ::ffff:10.0.0.80 does not match the IPv4 VIP: it passes."""
    lb.add_service()
    syn = packets.syn(network=ip6, dst=f"::ffff:{VIP}")

    assert (XDP_PASS, syn) == lb.send(syn)
    assert {"pass_not_vip": 1} == lb.counted


def test_the_unspecified_address_is_no_vip(lb):
    """A packet to :: does not match an empty entry of the VIPs: it passes."""
    lb.add_service()
    syn = packets.syn(network=ip6, dst="::")

    assert (XDP_PASS, syn) == lb.send(syn)
    assert {"pass_not_vip": 1} == lb.counted


# ---- which real ------------------------------------------------------------------------------

SIX = [f"2001:db8:9::{number} weight={number}" for number in range(1, 7)]
ODD_CLIENTS = ("::1:2", "::ffff:192.168.1.200", "64:ff9b::c000:201", "fe80::1", "ff80::1")


@pytest.mark.parametrize(
    ("scheduler", "flags"), [("mh", ()), ("mh", ("mh-port",)), ("sh", ()), ("sh", ("sh-port",))]
)
def test_hashes_choose_as_ipvs(lb, scheduler, flags):
    """The client's address is folded as ip_vs_mh.c and ip_vs_sh.c do: the oracle picks the same."""
    service = lb.service(lb.add_service(ENDPOINT, reals=SIX, scheduler=scheduler, flags=flags))
    ring = SCHEDULERS[scheduler].fill(service, lb.tunables.ring_slots)
    clients = [f"2001:db8:{n:x}:{n * 7919 % 65536:x}::{n * 31 % 65536:x}" for n in range(1000)]
    for port, client in enumerate([*clients, *ODD_CLIENTS], 1024):
        chosen = choose_real(service, ring, parse_address(client), port)

        real = lb.real_of(packets.from_client(SYN6, client, port))

        assert str(service.reals[chosen].address) == real, client


def test_mh_fallback(lb):
    """A drained real's clients are hashed again, as the oracle says."""
    key = lb.add_service(ENDPOINT, reals=SIX, flags=["mh-port", "mh-fallback"])
    lb.set_weight("2001:db8:9::6", 0)
    service = lb.service(key)
    ring = SCHEDULERS["mh"].fill(service, lb.tunables.ring_slots)

    for port in range(300):
        chosen = choose_real(service, ring, parse_address(CIP6), port)

        real = lb.real_of(packets.from_client(SYN6, CIP6, port))

        assert str(service.reals[chosen].address) == real


def test_clients_that_differ_in_a_bit_have_flows_of_their_own(lb):
    """Each bit of the client's address counts in the hash, with any secret."""
    lb.add_service(ENDPOINT, reals=["2001:db8:9::1", "2001:db8:9::2"], scheduler="rr")
    lb.tables.director[0].config.flow_key[1] = 0x9C3F_52A1_7B64_D800
    base = int(IPv6Address("2001:db8::1"))
    clients = [str(IPv6Address(base ^ 1 << bit)) for bit in range(128)]

    for client in clients:
        lb.send(packets.from_client(SYN6, client, 4711))

    assert len(clients) == len(lb.flows)


def test_turns(lb):
    """With turns, an IPv6 connection keeps its real."""
    reals = ["2001:db8:9::1", "2001:db8:9::2"]
    lb.add_service(ENDPOINT, reals=reals, scheduler="rr")

    clients = list(itertools.product(("2001:db8::1", "2001:db8::2", "::1:0:5", "::2:0:5"), (1, 2)))
    connections = {client: lb.real_of(packets.from_client(SYN6, *client)) for client in clients}

    assert dict.fromkeys(reals, 4) == Counter(connections.values())
    for client, real in connections.items():
        assert real == lb.real_of(packets.from_client(packets.ack(network=ip6), *client))
    assert 8 == len(lb.flows)


def test_datagrams_keep_their_real(lb):
    """UDP flows are recorded from the first datagram on."""
    lb.add_service(ENDPOINT, reals=SIX, scheduler="rr", udp=True)
    question = packets.udp(network=ip6)

    assert 1 == len({lb.real_of(question) for _ in range(5)})
    assert [("UDP", lb.real_of(question))] == lb.flows


# ---- floods ----------------------------------------------------------------------------------


def deny(lb, prefix):
    lb.director.deny([parse_prefix(prefix)])


@pytest.mark.parametrize(
    "frame", [SYN6, packets.udp(network=ip6), packets.icmp6(), packets.ip6(Raw(b"x"), plen=9)]
)
def test_a_denied_source_gets_nothing(lb, frame):
    """All its packets to a VIP are dropped, except neighbour discovery."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    deny(lb, "2001:db8:1::/64")

    assert XDP_DROP == lb.send(frame)[0]
    assert {"drop_denied": 1} == lb.counted


@pytest.mark.parametrize("message", [ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RS, ICMPv6ND_RA])
def test_neighbour_discovery_is_never_denied(lb, message):
    """A denied router can still find the VIP's MAC address, as with ARP."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    deny(lb, "2001:db8:1::/64")
    frame = packets.ip6(message(), hlim=255)

    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_icmp": 1} == lb.counted


def test_others_are_not_denied(lb):
    """An IPv6 prefix denies no neighbouring addresses and no IPv4."""
    lb.add_service(ENDPOINT, reals=[RIP6])
    lb.add_service()
    deny(lb, "2001:db8:2::/48")

    assert XDP_TX == lb.send(SYN6)[0]
    assert XDP_TX == lb.send(packets.syn())[0]


def test_sources_are_limited_by_their_64(lb):
    """A /64 is one source, because its owner can use any address in it."""
    lb.add_service(ENDPOINT, reals=[RIP6], source_limit=10)
    let = max(1, round(10 * lb.clock.tick_s))
    one = [packets.from_client(SYN6, f"2001:db8:5:5::{n:x}", 1) for n in range(let + 5)]
    others = [packets.from_client(SYN6, f"2001:db8:5:{n + 6:x}::1", 1) for n in range(let)]
    for frame in [*one, *others]:
        lb.send(frame)

    assert {"forwarded": 2 * let, "drop_source_limited": 5} == lb.counted
