# SPDX-License-Identifier: MIT
"""Who on the link answers for an address: host/probes.py, asked of real hosts in namespaces."""

import time
from collections.abc import Iterator

import pytest
from onelink import Link, linked

from xdplb.errors import NotFound
from xdplb.host import namespaces, probes
from xdplb.model.address import parse_address

pytestmark = pytest.mark.root

VIP, VIP6 = parse_address("192.168.2.100"), parse_address("2001:db8:2::100")


@pytest.fixture
def link() -> Iterator[Link]:
    with linked() as link:
        yield link


def test_nobody(link):
    """A host that has other addresses does not answer, and we know in time."""
    link.they("ip addr add 192.168.2.7/24 dev eth0; ip addr add 2001:db8:2::7/64 dev eth0 nodad")

    assert {} == link.who_answer(VIP, VIP6)


def test_a_host_that_has_it(link):
    """It is named by its MAC, for each family; we need no address."""
    link.they(f"ip addr add {VIP}/24 dev eth0; ip addr add {VIP6}/64 dev eth0 nodad")

    assert dict.fromkeys((VIP, VIP6), link.mac(link.them)) == link.who_answer(VIP, VIP6)


def test_a_real_server_that_keeps_silent(link):
    """With the VIP on lo it answers ARP until arp_ignore is 1; neighbour discovery never."""
    link.they(f"ip addr add {VIP}/32 dev lo; ip addr add {VIP6}/128 dev lo nodad")
    assert {VIP: link.mac(link.them)} == link.who_answer(VIP, VIP6)

    link.they("echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")

    assert {} == link.who_answer(VIP, VIP6)


def test_we_are_not_somebody_else(link):
    """Neither by the interface that asks nor by another one of ours on the same wire."""
    link.they("ip link add br0 type bridge; ip link set eth0 master br0; ip link set br0 up")
    link.run(link.us, f"ip link add eth1 type veth peer name eth1 netns {link.them}")
    link.they("ip link set eth1 master br0; ip link set eth1 up")
    link.run(
        link.us,
        f"ip link set eth1 up; ip addr add {VIP}/24 dev eth1; ip addr add {VIP6}/64 dev eth1 nodad;"
        f"ip addr add {VIP}/24 dev eth0",
    )

    assert {} == link.who_answer(VIP, VIP6)


def test_many_at_once(link):
    """A thousand take no longer than one, and each that is there is found."""
    link.they(
        "for n in $(seq 1 250); do echo addr add 192.168.2.$n/24 dev eth0; done | ip -batch -"
    )
    mac = link.mac(link.them)
    asked = [parse_address(f"192.168.{net}.{host}") for net in range(4) for host in range(1, 251)]

    found = link.who_answer(*asked)

    assert {f"192.168.2.{n}": mac for n in range(1, 251)} == {str(a): m for a, m in found.items()}


@pytest.mark.parametrize(
    ("ifname", "prepare"),
    [
        ("lo", ":"),
        ("tun0", "ip tuntap add tun0 mode tun; ip link set tun0 up"),
        ("eth0", "ip link set eth0 down"),
    ],
)
def test_where_nobody_can_answer(link, ifname, prepare):
    """An interface that is down or no Ethernet is not asked: the answer comes at once."""
    link.they(f"ip addr add {VIP}/24 dev eth0")
    link.run(link.us, prepare)
    start = time.monotonic()

    assert {} == link.who_answer(VIP, ifname=ifname)

    assert time.monotonic() - start < 0.2


def test_who_answers_one(link):
    """One address, one answer, at once; an interface that is not there is an error."""
    link.they(f"ip addr add {VIP}/24 dev eth0")
    start = time.monotonic()

    with namespaces.entered(link.us):
        assert link.mac(link.them) == probes.who_answers(VIP, "eth0")
        assert time.monotonic() - start < 0.2
        assert probes.who_answers(VIP6, "eth0") is None
        with pytest.raises(NotFound):
            probes.who_answers(VIP, "eth7")
