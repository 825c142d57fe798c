# SPDX-License-Identifier: MIT
"""The reference case: who is where. Values only, no I/O."""

from collections.abc import Iterator
from dataclasses import dataclass

VIP = "192.168.2.100"


@dataclass(frozen=True)
class Interface:
    """An interface of a host: its address with the prefix's length, and the network it is on."""

    name: str
    address: str
    network: str


@dataclass(frozen=True)
class Host:
    """A host of the lab. `page` is what its web server answers, if it has one."""

    name: str
    interfaces: tuple[Interface, ...]
    gateway: str | None = None
    forwards: bool = False
    page: str | None = None


NETWORKS = ("net1", "net2")  # 192.168.1.0/24 and 192.168.2.0/24, a bridge each

_HOSTS = (
    Host("client", (Interface("ens33", "192.168.1.200/24", "net1"),), gateway="192.168.1.1"),
    Host(
        "route",
        (
            Interface("ens33", "192.168.1.1/24", "net1"),
            Interface("ens160", "192.168.2.1/24", "net2"),
        ),
        forwards=True,
    ),
    Host("lvs", (Interface("ens33", "192.168.2.200/24", "net2"),), gateway="192.168.2.1"),
    Host(
        "rs1",
        (Interface("ens33", "192.168.2.220/24", "net2"),),
        gateway="192.168.2.1",
        page="rs1",
    ),
    Host(
        "rs2",
        (Interface("ens33", "192.168.2.210/24", "net2"),),
        gateway="192.168.2.1",
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
