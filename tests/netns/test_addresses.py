# SPDX-License-Identifier: MIT
"""Which addresses the networks of a host leave to hosts."""

import subprocess
import uuid
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from fivehosts import require_root

from xdplb.errors import Conflict
from xdplb.host import addresses, namespaces

pytestmark = pytest.mark.root

ADDRESSES = (
    "192.168.2.200/24",
    "192.168.2.100/32",
    "2001:db8:7::2/64",
    "10.7.0.1/31",
    "10.8.0.0/32",
    "10.8.0.1/24",
)
NETWORKS = {
    "192.168.2.0": "is the network's address of 192.168.2.0/24 on ens33",
    "192.168.2.255": "is the broadcast address of 192.168.2.0/24 on ens33",
    "2001:db8:7::": "is the network's address of 2001:db8:7::/64 on ens33",
    "192.168.2.1": "",
    "192.168.3.0": "",
    "192.168.2.100": "",
    "2001:db8:7::ffff:ffff:ffff:ffff": "",
    "10.7.0.0": "",  # of two addresses: RFC 3021
    "10.7.0.1": "",
    "10.8.0.0": "",  # the host has it
}


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """A network namespace in networks of some kinds."""
    require_root()
    name = f"t{uuid.uuid4().hex[:8]}"
    namespaces.create(name)
    try:
        ip = ["ip", "-n", name]
        subprocess.run([*ip, "link", "add", "ens33", "type", "bridge"], check=True)
        for address in ADDRESSES:
            subprocess.run([*ip, "address", "add", address, "dev", "ens33"], check=True)
        yield name
    finally:
        namespaces.remove(name)


@pytest.mark.parametrize("text", NETWORKS)
def test_addresses_of_networks(host, text):
    """A network's own address and its broadcast address are no host's."""
    with namespaces.entered(host):
        try:
            addresses.check_no_network(ip_address(text), "VIP")
            said = ""
        except Conflict as error:
            said = error.what

    assert said == (f"VIP {text} {NETWORKS[text]}" if NETWORKS[text] else "")
