# SPDX-License-Identifier: MIT
"""A scheduler: a function that fills a ring, and the way in which C picks a slot of it.

Importing numpy takes 0.1 s, and most commands need only a scheduler's name and flags. So the
modules of this package import it inside the functions that fill rings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from xdplb.errors import TableFull
from xdplb.model.service import Service

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Pick(IntEnum):
    """How the C program finds a packet's slot; the members are those of `enum pick` in types.h."""

    TURN = 0  # the ring is walked with one atomic counter per service
    MH = 1  # hsiphash of the client, modulo the ring's size
    SH = 2  # the top 8 bits of hash_32 of the client


@dataclass(frozen=True, eq=False)
class Ring:
    """A filled ring: arrays of equal length; their length is 0 if no real can be used.

    `owners` has each slot's real, as a position in `service.reals`. `reselect` marks slots whose
    owner in IPVS's table is drained (`mh-fallback`). For such a slot the client is hashed again;
    its owner here is used only if that finds no other slot.
    """

    owners: NDArray[np.uint32]
    reselect: NDArray[np.bool_]

    @classmethod
    def of(cls, owners: Sequence[int] | NDArray[np.uint32]) -> Ring:
        """A ring that marks no slot for reselection."""
        import numpy as np

        return cls(np.asarray(owners, dtype=np.uint32), np.zeros(len(owners), dtype=np.bool_))


@dataclass(frozen=True)
class Scheduler:
    """One way of balancing: `fill(service, ring_slots)` is pure; `flags` are those it accepts."""

    name: str
    pick: Pick
    flags: frozenset[str]
    fill: Callable[[Service, int], Ring]


def list_order(service: Service) -> list[int]:
    """Positions of all reals in the order of IPVS's list, where the last added is the first.

    Source: ip_vs_add_dest() in net/netfilter/ipvs/ip_vs_ctl.c.
    """
    return list(reversed(range(len(service.reals))))


def usable(service: Service) -> list[int]:
    """Positions of the reals with a weight above 0, in the order of IPVS's list."""
    return [i for i in list_order(service) if service.reals[i].weight > 0]


def check_room(service: Service, reals: int, slots: int) -> None:
    """Each real needs a slot. Raises: TableFull."""
    if reals > slots:
        raise TableFull(
            f"service {service.key} has {reals} reals for a ring of {slots} slots",
            "attach with a larger ring_slots, or remove reals",
        )
