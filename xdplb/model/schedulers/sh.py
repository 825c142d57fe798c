# SPDX-License-Identifier: MIT
"""Source hashing, slot for slot as the kernel's `sh` fills its table of 256.

Source: net/netfilter/ipvs/ip_vs_sh.c; hash_32() in include/linux/hash.h.
"""

from itertools import chain, cycle, islice

from xdplb.errors import UsageError
from xdplb.model.address import Address, fold_address
from xdplb.model.schedulers.base import Pick, Ring, Scheduler, list_order, usable
from xdplb.model.service import Service

SLOTS = 256
GOLDEN_RATIO_32 = 0x61C88647


def choose_slot(client: Address, port: int) -> int:
    """The slot a client hashes to. `port` is 0 without `sh-port`."""
    return ((fold_address(client) + port) * GOLDEN_RATIO_32 & 0xFFFF_FFFF) >> 24


def fill(service: Service, ring_slots: int) -> Ring:
    """Share the table out by weight, in runs. Reals that do not fit get no slot, as in IPVS.

    IPVS drops the clients of a drained real's slots unless `sh-fallback` is given. Here a drained
    real has no slots without `sh-fallback`. With it, a drained real has one slot per round, as in
    IPVS. Such a slot gets the owner that IPVS would find next, which depends on the slot only.

    Units: ring_slots, the ring's room in slots. Raises: UsageError if that is below 256.
    """
    if ring_slots < SLOTS:
        raise UsageError(
            f"a ring of {ring_slots} slots cannot hold sh's {SLOTS}",
            "attach with a larger ring_slots, or choose another scheduler",
        )
    serving = usable(service)
    if not serving:
        return Ring.of([])
    fallback = "sh-fallback" in service.flags
    order = list_order(service) if fallback else serving
    runs = (i for i in cycle(order) for _ in range(max(service.reals[i].weight, 1)))
    owners = list(islice(runs, SLOTS))
    if all(service.reals[i].weight == 0 for i in owners):
        return Ring.of([])
    return Ring.of([_available(service, owners, slot) for slot in range(SLOTS)])


def _available(service: Service, owners: list[int], slot: int) -> int:
    """The real that clients of a slot get: its owner, or the first usable one of IPVS's walk.

    The walk adds the slot twice: try n looks at slot (n + slot) + slot. Source:
    ip_vs_sh_get_fallback(), which hashes with offset (n + slot) modulo 256.
    """
    walk = chain([slot], ((tries + 2 * slot) % SLOTS for tries in range(SLOTS)))
    return next(owners[at] for at in walk if service.reals[owners[at]].weight > 0)


SH = Scheduler("sh", Pick.SH, frozenset({"sh-port", "sh-fallback"}), fill)
