# SPDX-License-Identifier: MIT
"""Round robin: the reals in turn, whatever their weights.

Source: net/netfilter/ipvs/ip_vs_rr.c.
"""

from xdplb.model.schedulers.base import Pick, Ring, Scheduler, check_room, usable
from xdplb.model.service import Service


def fill(service: Service, ring_slots: int) -> Ring:
    """One slot per real with a weight above 0.

    Units: ring_slots, the ring's room in slots. Raises: TableFull.
    """
    order = usable(service)
    check_room(service, len(order), ring_slots)
    return Ring.of(order)


RR = Scheduler("rr", Pick.TURN, frozenset(), fill)
