# SPDX-License-Identifier: MIT
"""With the same hosts, all is the same behind xdplb as behind IPVS."""

import pytest
import wire
from directors import Ipvs
from seen import upload

from xdplb.lab import VIP
from xdplb.model.address import parse_address
from xdplb.realserver import setup
from xdplb.realserver.host import Host

pytestmark = pytest.mark.root

# The reference case word for word: a real server by commands older than xdplb.
BY_HAND = f"""
ifconfig tunl0 {VIP} broadcast {VIP} netmask 255.255.255.255 up
echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
echo 0 > /proc/sys/net/ipv4/conf/tunl0/rp_filter
echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore
echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce
route del default
route add default gw 192.168.2.1
"""
UNDO = """
ifconfig tunl0 0.0.0.0 down
echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore
echo 0 > /proc/sys/net/ipv4/conf/all/arp_announce
"""


@pytest.fixture
def by_hand(cluster):
    """Real servers that xdplb did not set up."""
    hosts = {name: Host(netns=f"{cluster.name}-{name}") for name in ("rs1", "rs2")}
    for name, host in hosts.items():
        setup.teardown(host)
        cluster.run(name, "sh", "-exc", BY_HAND)
    yield
    for name, host in hosts.items():
        cluster.run(name, "sh", "-exc", UNDO)
        setup.setup(host, [parse_address(VIP)])


@pytest.mark.parametrize("director", ["by_ipvs", "by_xdplb"])
def test_requests_are_served_by_turns(director, request):
    """rs2 rs1 rs2 rs1: the real that was added last comes first."""
    assert ["rs2", "rs1", "rs2", "rs1"] == request.getfixturevalue(director).pages


@pytest.mark.parametrize("director", ["by_ipvs", "by_xdplb"])
def test_an_upload_arrives_whole(director, request):
    """20 MB arrive in one POST, with the client's usual MTU."""
    assert "rs2\n20000000" == request.getfixturevalue(director).uploaded


@pytest.mark.parametrize("host", wire.REALS)
def test_the_same_frames_are_on_the_wire(by_ipvs, by_xdplb, host):
    """Frames to a real are equal byte for byte. Without DF, the ID (and checksum) may differ."""
    assert len(wire.SENT) == sum(len(frames) for frames in by_ipvs.frames.values())
    ipvs, xdplb = (list(map(wire.comparable, by.frames[host])) for by in (by_ipvs, by_xdplb))
    assert ipvs == xdplb


def test_real_servers_by_hand_are_as_good(cluster, xdplb, by_hand):
    """Behind both directors, the reference case's own commands make real servers too.

    Nothing asks for smaller segments then: ICMP tells the client how much fits the tunnel.
    """
    for director in (Ipvs(cluster), xdplb):
        director.add_service()
        pages, uploaded = cluster.fetch(4), upload(cluster, 1_000_000)
        director.flush()
        cluster.run("client", "ip", "route", "flush", "cache")  # what ICMP told
        assert (["rs2", "rs1", "rs2", "rs1"], "rs2\n1000000") == (pages, uploaded)
