# SPDX-License-Identifier: MIT
"""Who on the link answers for an address, host/probes.py, on kinds of interfaces that CI lacks."""

import time
from collections.abc import Iterator

import pytest
from onelink import Link, linked

from xdplb.host import namespaces, probes
from xdplb.model.address import parse_address

pytestmark = pytest.mark.root

EMULATED_S = 10
VIP, VIP6 = parse_address("192.168.2.100"), parse_address("2001:db8:2::100")


@pytest.fixture
def link() -> Iterator[Link]:
    """With eth0.10 at both ends, too."""
    with linked() as link:
        for host in (link.us, link.them):
            link.run(host, "ip link add link eth0 name eth0.10 type vlan id 10")
            link.run(host, "ip link set eth0.10 up")
        link.they("echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")
        yield link


@pytest.mark.parametrize(("dev", "other"), [("eth0", "eth0.10"), ("eth0.10", "eth0")])
def test_a_vlan_is_a_link_of_its_own(link, dev, other):
    """Who has the address there is named by his MAC; on the other one nobody is heard."""
    link.they(f"ip addr add {VIP}/24 dev {dev}; ip addr add {VIP6}/64 dev {dev} nodad")

    found = link.who_answer(VIP, VIP6, ifname=dev, within_s=EMULATED_S)
    assert dict.fromkeys((VIP, VIP6), link.mac(link.them)) == found
    assert {} == link.who_answer(VIP, VIP6, ifname=other, within_s=EMULATED_S)


def test_nobody_is_behind_a_dummy(link):
    """It takes no ARP: nobody is waited for."""
    link.run(link.us, "ip link add dummy0 type dummy; ip link set dummy0 up")
    start = time.monotonic()

    with namespaces.entered(link.us):
        assert probes.who_answers(VIP, "dummy0", timeout_s=60) is None

    assert time.monotonic() - start < 30
