# SPDX-License-Identifier: MIT
"""The reference case: who is where. Values only, no I/O."""

from collections.abc import Iterator
from dataclasses import dataclass

VIP, VIP6 = "192.168.2.100", "2001:db8:2::100"


@dataclass(frozen=True)
class Interface:
    """An interface of a host: its IPv4 and IPv6 address with the prefix's length, its network."""

    name: str
    addresses: tuple[str, str]
    network: str


@dataclass(frozen=True)
class Host:
    """A host of the lab; of `gateways`, IPv4's is first. `page` is what its web server answers."""

    name: str
    interfaces: tuple[Interface, ...]
    gateways: tuple[str, ...] = ()
    forwards: bool = False
    page: str | None = None


NETWORKS = ("net1", "net2")  # a bridge each
_GATEWAYS1 = ("192.168.1.1", "2001:db8:1::1")
_GATEWAYS2 = ("192.168.2.1", "2001:db8:2::1")
_HOSTS = (
    Host(
        "client",
        (Interface("ens33", ("192.168.1.200/24", "2001:db8:1::200/64"), "net1"),),
        _GATEWAYS1,
    ),
    Host(
        "route",
        (
            Interface("ens33", ("192.168.1.1/24", "2001:db8:1::1/64"), "net1"),
            Interface("ens160", ("192.168.2.1/24", "2001:db8:2::1/64"), "net2"),
        ),
        forwards=True,
    ),
    Host(
        "lvs",
        (Interface("ens33", ("192.168.2.200/24", "2001:db8:2::200/64"), "net2"),),
        _GATEWAYS2,
    ),
    Host(
        "rs1",
        (Interface("ens33", ("192.168.2.220/24", "2001:db8:2::220/64"), "net2"),),
        _GATEWAYS2,
        page="rs1",
    ),
    Host(
        "rs2",
        (Interface("ens33", ("192.168.2.210/24", "2001:db8:2::210/64"), "net2"),),
        _GATEWAYS2,
        page="rs2",
    ),
)
HOSTS = {host.name: host for host in _HOSTS}


def on_network(network: str) -> Iterator[tuple[Host, Interface]]:
    """Walk the interfaces that are joined to this network."""
    for host in HOSTS.values():
        for interface in host.interfaces:
            if interface.network == network:
                yield host, interface
