# SPDX-License-Identifier: MIT
"""From the ring that is to the ring that shall be, so that no connection breaks. Pure.

A slot whose owner changes is in transition: new flows go to the new owner and are recorded, flows
without a record belong to the previous owner (bpf/schedule.h). The rules:

- a slot that changes again keeps its first previous owner: the flows of the one between are all
  recorded;
- a real that was removed is nobody's previous owner: its slots move at once;
- a slot to reselect records its flows too: its clients went to several reals, none of them *the*
  previous owner when it comes back;
- a transition ends when no live record can belong to it: none names its previous owner, none a real
  that may have been the owner in between, but the present one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


def slot_dtype(leaf: Any) -> Any:
    """The numpy type of struct slot, from its ctypes class."""
    import numpy as np

    return np.dtype(leaf)


def repeat_ring(owners: NDArray[Any], slots: int, dtype: Any) -> NDArray[Any]:
    """A whole ring without transitions, shape (slots,): the owners' cycle over and over.

    Any size the program may still hold for the service is then a valid one.
    """
    import numpy as np

    ring = np.zeros(slots, dtype)
    if len(owners):
        ring["real"] = np.resize(owners, slots)
    return ring


def _members(indices: Collection[int]) -> NDArray[Any]:
    """Which of the 16-bit indices are among these: bool, shape (65536,)."""
    import numpy as np

    members = np.zeros(1 << 16, bool)
    members[list(indices)] = True
    return members


def merge_rings(
    old: NDArray[Any],
    new: NDArray[Any],
    reselect: NDArray[Any],
    reals: Collection[int],
    recorded: int,
    reselected: int,
) -> NDArray[Any]:
    """The new ring with the transitions that the old one asks for.

    old, new: struct slot, shape (n,); reselect: bool, shape (n,); reals: the indices that the
    service still has; recorded, reselected: the values of enum slot_flag.
    """
    import numpy as np

    merged = new.copy()
    was_moving = (old["flags"] & recorded) != 0
    changed = (new["real"] != old["real"]) & (old["real"] != 0) & (new["real"] != 0)
    previous = np.where(was_moving, old["previous"], np.where(changed, old["real"], 0))
    previous = np.where(_members(reals)[previous], previous, 0)
    moving = was_moving | (previous != 0) | reselect
    # Before it was reselected, a slot's own real had its flows, none of them recorded.
    flags = np.where(moving, recorded, 0) | np.where(reselect, reselected, 0)
    merged["previous"] = previous
    merged["flags"] = flags
    return merged


def change_pick(
    old: NDArray[Any],
    new: NDArray[Any],
    reals: Collection[int],
    recorded: int,
    previous_pick: int,
    by_pick: int,
) -> NDArray[Any]:
    """The new ring, whose slots clients find by another pick than the old ring's.

    Each slot keeps the owner that the old pick found there. All flows are recorded, so what changes
    later changes nothing about that: these first owners stay.

    previous_pick: of enum slot_flag; as the old ring has it, if that is still in transition.
    by_pick: the value of enum slot_previous.
    """
    import numpy as np

    was_moving = (old["flags"] & recorded) != 0
    owner = np.where(was_moving, old["previous"], old["real"])
    owner = np.where(old["previous"] == by_pick, old["previous_pick_real"], owner)
    owner = np.where(_members(reals)[owner], owner, 0)
    changed = new.copy()
    changed["flags"] |= recorded
    if owner.any():
        changed["flags"] |= previous_pick
        changed["previous"] = by_pick
        changed["previous_pick_real"] = owner
    return changed


def forget_pick(ring: NDArray[Any], previous_pick: int) -> NDArray[Any]:
    """The ring when every flow of the previous pick that still goes on has a record.

    previous_pick: all of enum slot_flag that name one.
    """
    import numpy as np

    forgotten = ring.copy()
    if (ring["flags"] & previous_pick).any():
        forgotten["previous"] = forgotten["previous_pick_real"] = 0
        forgotten["flags"] &= ~np.uint16(previous_pick)
    return forgotten


def end_transitions(
    ring: NDArray[Any],
    live: Collection[int],
    between: Collection[int],
    recorded: int,
    reselected: int,
) -> NDArray[Any]:
    """The ring with those transitions ended that no live record can belong to.

    live: the reals that live records name; between: those of them that may have owned any slot
    since its transition began, without being its previous owner.
    """
    import numpy as np

    ended = ring.copy()
    done = ~_members(live)[ring["previous"]] & ((ring["flags"] & reselected) == 0)
    for real in between:
        done &= ring["real"] == real
    ended["flags"] = np.where(done, ring["flags"] & ~np.uint16(recorded), ring["flags"])
    ended["previous"] = np.where(done, 0, ring["previous"])
    return ended
