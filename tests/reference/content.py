# SPDX-License-Identifier: MIT
"""The tables' content, and the network: all that a director's decisions depend on."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple


class Slot(NamedTuple):
    """A slot of a ring. Reals by their indices; 0 is none."""

    real: int
    previous: int
    recorded: bool  # in transition
    reselect: bool  # its owner in IPVS's table takes no new flows


@dataclass
class Service:
    """`pick` is turn, mh or sh. `slots`: how many slots of the ring the turns walk through."""

    id: int
    pick: str
    hash_port: bool
    one_packet: bool
    recorded: bool
    slots: int
    ring: list[Slot]
    limit: int  # new flows per tick; 0: no limit
    source_limit: int


class Tunnel(NamedTuple):
    """How packets go to a real: in `ipip`, `gre` or `gue`. `port`: GUE's UDP port."""

    kind: str = "ipip"
    port: int = 0
    checksum: bool = False  # for packets that can have one


class Ends(NamedTuple):
    """A tunnel's addresses, and GUE's source port, which is the flow's."""

    src: bytes
    dst: bytes
    sport: int


class Real(NamedTuple):
    """A real of one service (its id). `dip` may be a prefix: `hosts` are the flow's bits of it."""

    rip: bytes
    dip: bytes
    service: int
    local: bool
    hosts: bytes = bytes(4)
    tunnel: Tunnel = Tunnel()

    @property
    def is_ipv6(self) -> bool:
        """By its address."""
        return len(self.rip) == 16


class Hop(NamedTuple):
    """Where frames for a real leave; `macs` are destination and source, `mtu` is the route's.

    vlan: for a VLAN device, the interface below it, and its tags as in a frame.
    """

    ifindex: int
    macs: bytes
    mtu: int
    vlan: tuple[int, bytes] | None = None

    def leave(self, came_by: int) -> tuple[int, bytes]:
        """The interface and the tags. A VLAN device adds its tags itself."""
        if self.vlan is None or self.ifindex == came_by:
            return self.ifindex, b""
        return self.vlan


NO_ROUTE, NO_NEIGHBOUR = "no_route", "no_neighbour"


@dataclass
class Content:
    """Services by (VIP, protocol, port); reals by their indices; the hop to each real by its RIP.

    Units: timeouts (by a flow's state) in ticks.
    """

    vips: set[bytes]
    services: dict[tuple[bytes, int, int], Service]
    reals: dict[int, Real]
    timeouts: dict[str, int]
    denied: list[IPv4Network | IPv6Network]
    flow_key: tuple[int, int]
    source_bits: int
    network: dict[bytes, Hop | str]
