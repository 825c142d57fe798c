# SPDX-License-Identifier: MIT
"""Parts of this host's network: VLAN devices, and routes to reals."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vlan:
    """A VLAN device: the interface below it (its number), and the tags of its frames.

    tags: the outermost first; each is a TPID and a VID (IEEE 802.1Q §9.6).
    """

    parent: int
    tags: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Route:
    """The route to a real: device, next neighbour, outer source; local: the real is this host."""

    device: str
    via: str
    source: str
    local: bool
