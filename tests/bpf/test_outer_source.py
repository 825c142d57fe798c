# SPDX-License-Identifier: MIT
"""Outer sources from a prefix of the service's (`source_cidr`), one for each flow."""

from ipaddress import ip_network

import packets
import pytest
from balancer import XDP_TX
from packets import RIP, vlan

from xdplb.model.address import parse_prefix

pytestmark = pytest.mark.root

PREFIX = "10.9.4.0/22"
TUNNELS = ["ipip", "gre", "gre+csum", "gue", "gue+csum"]
FRAMES = {
    "SYN": packets.syn(),
    "odd length": packets.ack(payload=b"odd"),
    "TOS": packets.syn(tos=0xBA),
    "tag and padding": packets.syn(tags=(vlan(5),)) + b"padding",
    "source that is not of the flow": packets.ack(sport=1),
}


def balance(lb, cidr=PREFIX, tunnel="ipip", **more):
    """Add a service whose flows have sources of this prefix."""
    return lb.add_service(reals=[f"{RIP} tunnel={tunnel}"], source_cidr=parse_prefix(cidr), **more)


def source(frame):
    """The outer source of a frame that left."""
    return packets.outer_src(frame)


def wrapped(frame, tunnel, out):
    """The frame as it must leave, with the source, port and ID that it left with."""
    ends = {"src": source(out), "dst": packets.outer_dst(out), "id": packets.outer_id(out)}
    if tunnel == "ipip":
        return packets.ipip(frame, **ends)
    if tunnel.startswith("gre"):
        return packets.gre(frame, checksum=tunnel.endswith("+csum"), **ends)
    sport, _ = packets.outer_ports(out)
    return packets.gue(frame, sport=sport, check=tunnel.endswith("+csum"), **ends)


@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_source_is_of_the_prefix(lb, frame, tunnel):
    """A packet leaves from an address of the prefix, with right checksums, otherwise as always."""
    balance(lb, tunnel=tunnel)

    action, out = lb.send(frame)

    assert (XDP_TX, wrapped(frame, tunnel, out)) == (action, out)
    assert parse_prefix(source(out)).subnet_of(ip_network(PREFIX))
    assert {"forwarded": 1} == lb.counted


@pytest.mark.parametrize("tunnel", TUNNELS)
@pytest.mark.parametrize("network", [packets.ip, packets.ip6], ids=["4in6", "6in6"])
@pytest.mark.parametrize("cidr", ["2001:db8:5::/96", "fd00::9:0/112", "fd00::8:2/127"])
def test_ipv6_sources_are_of_the_prefix(lb, network, cidr, tunnel):
    """With an IPv6 real and any VIP: the checksums are right, and flows use all of the prefix."""
    vip = packets.VIP if network is packets.ip else f"[{packets.VIP6}]"
    real = f"{packets.RIP6} tunnel={tunnel}"
    lb.add_service(f"{vip}:80", reals=[real], source_cidr=parse_prefix(cidr))
    sources = set()

    for port in range(64):
        frame = packets.syn(network=network, sport=1024 + port)
        action, out = lb.send(frame)
        assert (XDP_TX, wrapped(frame, tunnel, out)) == (action, out)
        sources.add(source(out))

    assert all(parse_prefix(one).subnet_of(ip_network(cidr)) for one in sources)
    assert len(sources) >= min(60, parse_prefix(cidr).num_addresses)


@pytest.mark.parametrize("tunnel", ["ipip", "gre", "gue"])
@pytest.mark.parametrize("scheduler", ["mh", "rr"])
def test_a_flow_has_one_source(lb, tunnel, scheduler):
    """All packets of a flow have one source, whatever their other fields are."""
    balance(lb, tunnel=tunnel, scheduler=scheduler)
    frames = [
        packets.syn(),
        packets.ack(ttl=9),
        packets.ack(ip_flags="", id=7, payload=b"x"),
        packets.ack(tos=3, tags=(vlan(9),)),
        packets.fin(),
    ]

    assert 1 == len({source(lb.send(frame)[1]) for frame in frames})


@pytest.mark.parametrize(
    ("cidr", "least"), [("10.9.0.0/31", 2), ("10.9.0.0/24", 200), ("11.0.0.0/8", 500)]
)
def test_flows_share_the_prefix(lb, cidr, least):
    """Flows use all of the prefix, even if only ports or only addresses differ."""
    balance(lb, cidr)
    ports = [("192.0.2.1", 1024 + n) for n in range(512)]
    addresses = [(f"198.51.{100 + n // 256}.{n % 256}", 1024) for n in range(512)]

    for clients in (ports, addresses):
        frames = [packets.from_client(FRAMES["SYN"], *client) for client in clients]
        sources = {source(lb.send(frame)[1]) for frame in frames}

        assert all(parse_prefix(one).subnet_of(ip_network(cidr)) for one in sources)
        assert len(sources) >= least


def test_of_udp_too(lb):
    """A datagram has such a source, as a segment has."""
    balance(lb, udp=True)
    question = packets.udp()

    action, out = lb.send(question)

    assert (XDP_TX, wrapped(question, "ipip", out)) == (action, out)
    assert source(out) != packets.DIP


def test_mtu_leaves_room_for_the_tunnel(lb):
    """The largest packet that still fits is forwarded; one byte more is answered with what fits."""
    balance(lb)
    fits, does_not = (packets.ack(payload=bytes(size)) for size in (1440, 1441))

    action, out = lb.send(fits)
    answer = lb.send(does_not)

    assert (XDP_TX, wrapped(fits, "ipip", out)) == (action, out)
    assert (XDP_TX, packets.too_big(does_not, 1480)) == answer
    assert {"forwarded": 1, "replied_too_big": 1} == lb.counted


@pytest.mark.parametrize("tunnel", ["ipip", "gre+csum", "gue+csum"])
def test_prefix_changes_live(lb, tunnel):
    """The DIP, a prefix and another prefix can replace each other; the real's record stays in
    place.
    """
    lb.add_service(reals=[f"{RIP} tunnel={tunnel}"])
    frame, sources = packets.ack(), []
    place = lb.index(RIP)

    for cidr in (None, "10.9.0.0/24", "10.77.0.0/16", None):
        lb.edit_service(source_cidr=cidr and parse_prefix(cidr))
        action, out = lb.send(frame)
        assert (XDP_TX, wrapped(frame, tunnel, out)) == (action, out)
        sources.append(source(out))

    assert [packets.DIP, "10.9.0", "10.77", packets.DIP] == [
        sources[0],
        sources[1].rpartition(".")[0],
        ".".join(sources[2].split(".")[:2]),
        sources[3],
    ]
    assert (place, {"forwarded": 4}) == (lb.index(RIP), lb.counted)


def test_other_changes_leave_the_source_alone(lb):
    """A flow keeps its source after a change of weights, reals or scheduler."""
    balance(lb)
    frame = packets.ack()
    before = source(lb.send(frame)[1])

    lb.set_weight(RIP, 7)
    lb.edit_service(scheduler="sh")
    lb.edit_service(limit=100)

    assert before == source(lb.send(frame)[1])


def test_services_have_sources_of_their_own(lb):
    """The same real gets packets from the DIP for one service, and from a prefix for another."""
    balance(lb)
    lb.add_service("10.0.0.80:443", reals=[RIP])
    frame = packets.syn(dport=443)

    assert (XDP_TX, packets.ipip(frame)) == lb.send(frame)
    assert packets.DIP != source(lb.send(packets.syn())[1])
