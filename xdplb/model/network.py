# SPDX-License-Identifier: MIT
"""What this host knows of its network: VLAN devices, and ways to reals."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vlan:
    """What leaves by a VLAN device: by which interface (its number), and with which tags.

    tags: the outermost first; each a TPID and a VID (IEEE 802.1Q §9.6).
    """

    parent: int
    tags: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Route:
    """The way to a real: where it leaves, the neighbour that takes it, the outer source it gets."""

    device: str
    via: str
    source: str
    local: bool
