# SPDX-License-Identifier: MIT
"""Maglev hashing, slot for slot as the kernel's `mh` fills its table.

Source: net/netfilter/ipvs/ip_vs_mh.c; Eisenbud et al., "Maglev", NSDI 2016, §3.4.
"""

from __future__ import annotations

from array import array
from itertools import cycle, islice
from math import gcd
from typing import TYPE_CHECKING

from xdplb.errors import UsageError
from xdplb.model.address import Address, fold_address
from xdplb.model.schedulers.base import Pick, Ring, Scheduler, check_room, list_order, usable
from xdplb.model.schedulers.siphash import M32, Key, hsiphash_1u32
from xdplb.model.service import Service

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# CONFIG_IP_VS_MH_TAB_INDEX 8 … 17.
PRIMES = (251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071)
FIRST_INDEX = 8

OFFSET_KEY: Key = (2654435761, 2654435761)  # also the clients' key
SKIP_KEY: Key = (2654446892, 2654446892)

STRETCH = 32  # steps looked at together; measured: 16 to 64 do as well
MAX_TRIES = 128  # of a reselection; the kernel tries a whole table, which is too long for XDP


def check_ring_slots(ring_slots: int) -> None:
    """The ring's size must be one of the kernel's primes. Raises: UsageError."""
    if ring_slots not in PRIMES:
        raise UsageError(
            f"ring_slots {ring_slots} is not a size of IPVS's mh table",
            f"choose one of {', '.join(map(str, PRIMES))}",
        )


def choose_slot(client: Address, port: int, ring_slots: int, offset: int = 0) -> int:
    """The slot a client hashes to. `port` is 0 without `mh-port`; `offset` is for reselection."""
    return hsiphash_1u32((fold_address(client) + port + offset) & M32, OFFSET_KEY) % ring_slots


def reselect(ring: Ring, client: Address, port: int) -> int:
    """The owner for a client whose first slot is marked: the first unmarked slot's of a walk.

    Source: ip_vs_mh_get_fallback(), with at most MAX_TRIES; after them the first slot's owner.
    """
    slots = len(ring.owners)
    first = choose_slot(client, port, slots)
    for tries in range(MAX_TRIES):
        slot = choose_slot(client, port, slots, (first + tries) % slots)
        if not ring.reselect[slot]:
            return int(ring.owners[slot])
    return int(ring.owners[first])


def fill(service: Service, ring_slots: int) -> Ring:
    """Fill the table by weight; with `mh-fallback` also mark the slots of drained reals.

    IPVS drops the clients of a drained real's slots unless `mh-fallback` is given. Here a drained
    real has no slots, as in IPVS's table after that real is removed.

    Units: ring_slots, one of PRIMES. Raises: UsageError, TableFull.
    """
    check_ring_slots(ring_slots)
    serving = usable(service)
    if not serving:
        return Ring.of([])
    ring = Ring.of(populate(service, serving, ring_slots))
    if "mh-fallback" not in service.flags:
        return ring
    import numpy as np

    known = [i for i in list_order(service) if _lasting_weight(service, i) > 0]
    if known == serving:
        return ring
    drained = np.array([real.weight == 0 for real in service.reals])
    owners = populate(service, known, ring_slots)
    marked = drained[owners]
    return Ring(np.where(marked, ring.owners, owners), marked)


def _lasting_weight(service: Service, position: int) -> int:
    """IPVS's last_weight: the weight; for a drained real, the weight that it had before."""
    real = service.reals[position]
    return real.weight or real.last_weight


def populate(service: Service, positions: list[int], ring_slots: int) -> NDArray[np.uint32]:
    """The table's owners, from reals in the order of IPVS's list, by their lasting weights.

    Each real has a sequence of slots: offset, offset + skip, … modulo the table's size. The reals
    take turns. In each turn a real claims the next free slot of its sequence. A round has as many
    turns of a real as its weight says. It ends when no slot is free. While many slots are free, it
    is fastest to walk step by step; later, to look at STRETCH steps at once. For that the table is
    repeated so often that no stretch runs past its end.

    Source: ip_vs_mh_permutate(), ip_vs_mh_populate(). Raises: TableFull.
    """
    import numpy as np

    check_room(service, len(positions), ring_slots)
    port = service.key.port  # a tunnel does not map ports: the real's is the service's
    words = [(fold_address(service.reals[i].address) + port) & M32 for i in positions]
    hashed = np.array(words, dtype=np.uint64)
    offset: list[int] = (hsiphash_1u32(hashed, OFFSET_KEY) % ring_slots).tolist()
    skip: list[int] = (hsiphash_1u32(hashed, SKIP_KEY) % (ring_slots - 1) + 1).tolist()
    turns = turns_by_weight([_lasting_weight(service, i) for i in positions], ring_slots)
    sequence = [position for position, count in enumerate(turns) for _ in range(count)]

    claimants = cycle(sequence)
    claimed = array("l")  # slots, by order of claiming
    taken = bytearray(ring_slots)
    at = offset
    walked = ring_slots - ring_slots // 8  # measured: beyond, stretches are faster
    for position in islice(claimants, walked):
        slot = at[position]
        if taken[slot]:
            step = skip[position]
            while taken[slot]:
                slot += step
                if slot >= ring_slots:
                    slot -= ring_slots
            at[position] = slot
        taken[slot] = 1
        claimed.append(slot)

    repeated = taken * (STRETCH + 1)
    mark = b"\1" * (STRETCH + 1)
    for position in islice(claimants, ring_slots - walked):
        slot, step = at[position], skip[position]
        reach = step * STRETCH
        while (steps := repeated[slot : slot + reach : step].find(0)) < 0:
            slot = (slot + reach) % ring_slots
        at[position] = slot = (slot + steps * step) % ring_slots
        repeated[slot::ring_slots] = mark
        claimed.append(slot)

    owners = np.empty(ring_slots, dtype=np.uint32)
    by_claim = np.array(positions, dtype=np.uint32)[sequence]
    owners[np.frombuffer(claimed, dtype="l")] = np.resize(by_claim, ring_slots)
    return owners


def turns_by_weight(weights: list[int], ring_slots: int) -> list[int]:
    """Claims per round: weights in lowest terms, shifted so that the largest stays small.

    Needs: all weights ≥ 1. Source: ip_vs_mh_gcd_weight(), ip_vs_mh_shift_weight().
    """
    divisor = gcd(*weights)
    bits = (FIRST_INDEX + PRIMES.index(ring_slots)) // 2  # IP_VS_MH_TAB_BITS
    shift = max(0, (max(weights) // divisor).bit_length() - bits)
    return [(weight // divisor >> shift) or 1 for weight in weights]


MH = Scheduler("mh", Pick.MH, frozenset({"mh-port", "mh-fallback"}), fill)
