# SPDX-License-Identifier: MIT
"""Parts of this host's network: VLAN devices, and routes to reals."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Vlan:
    """A VLAN device: the interface below it (its number), and the tags of its frames.

    tags: the outermost first; each is a TPID and a VID (IEEE 802.1Q §9.6).
    """

    parent: int
    tags: tuple[tuple[int, int], ...]


class Hop(NamedTuple):
    """A neighbour that takes packets: its address and the device that it is behind."""

    via: str
    device: str


@dataclass(frozen=True)
class Route:
    """The way to a real: where it leaves, the neighbour that takes it, the outer source it gets.

    via: "" if that is the real itself, so that reals of one network share a route.
    """

    device: str
    via: str
    source: str
    local: bool

    def hop(self, real: str) -> Hop:
        """The next hop on the way to a real of this address."""
        return Hop(self.via or real, self.device)
