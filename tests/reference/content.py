# SPDX-License-Identifier: MIT
"""What the tables hold, and what the network is like: all that a director goes by."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple


class Slot(NamedTuple):
    """Of a ring. Reals by their places; 0 is none."""

    real: int
    previous: int
    recorded: bool  # in transition
    reselect: bool  # its owner by IPVS's table takes no new flows
    previous_pick: str = ""  # while the pick changes: mh or sh, by which `previous` is found
    previous_port: bool = False  # whether that one hashed the port


@dataclass
class Service:
    """`pick` is turn, mh or sh; `slots` is how many of the ring a turn goes through."""

    id: int
    pick: str
    hash_port: bool
    one_packet: bool
    recorded: bool
    slots: int
    ring: list[Slot]
    limit: int  # of new flows a tick; 0: none
    source_limit: int


class Tunnel(NamedTuple):
    """How packets go to a real: in `ipip`, `gre` or `gue`, to `port` of UDP."""

    kind: str = "ipip"
    port: int = 0
    checksum: bool = False  # where there can be one


class Ends(NamedTuple):
    """Of a tunnel: its addresses, and GUE's source port, which is the flow's."""

    src: bytes
    dst: bytes
    sport: int


class Real(NamedTuple):
    """Of one service, by its id. `dip` may be a prefix: `hosts` are its bits that a flow has."""

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

    vlan: of a VLAN device, the interface below it, and its tags as they stand in a frame.
    """

    ifindex: int
    macs: bytes
    mtu: int
    vlan: tuple[int, bytes] | None = None

    def leave(self, came_by: int) -> tuple[int, bytes]:
        """By which interface, and with which tags. A VLAN device puts its tags on by itself."""
        if self.vlan is None or self.ifindex == came_by:
            return self.ifindex, b""
        return self.vlan


NO_ROUTE, NO_NEIGHBOUR = "no_route", "no_neighbour"


@dataclass
class Content:
    """Services by (VIP, protocol, port), reals by their places, the way to each by its RIP.

    Units: timeouts, by a flow's state, in ticks.
    """

    vips: set[bytes]
    services: dict[tuple[bytes, int, int], Service]
    reals: dict[int, Real]
    timeouts: dict[str, int]
    denied: list[IPv4Network | IPv6Network]
    flow_key: tuple[int, int]
    source_bits: int
    network: dict[bytes, Hop | str]
