# SPDX-License-Identifier: MIT
"""Weighted round robin: a level falls from the largest weight; each real at or above it has a turn.

Source: net/netfilter/ipvs/ip_vs_wrr.c.
"""

from math import gcd

from xdplb.model.schedulers.base import Pick, Ring, Scheduler, check_room, usable
from xdplb.model.service import Service


def fill(service: Service, ring_slots: int) -> Ring:
    """One full cycle of IPVS's sequence; weights are scaled down if it does not fit.

    A real with a weight keeps at least one turn. So with weights 2,147,483,647 and 1 and 4,093
    slots the second has one turn in 4,093: its share cannot be smaller.

    Units: ring_slots, the ring's room in slots. Raises: TableFull.
    """
    order = usable(service)
    check_room(service, len(order), ring_slots)
    if not order:
        return Ring.of([])
    import numpy as np

    turns = np.array(scale([service.reals[i].weight for i in order], ring_slots))
    position = np.repeat(np.arange(len(order)), turns)  # position in the list, once per turn
    level = np.arange(len(position)) - np.repeat(np.cumsum(turns) - turns, turns)
    sequence = position[np.lexsort((position, -level))]  # levels fall; within one, the list's order
    return Ring.of(np.array(order, dtype=np.uint32)[sequence])


def scale(weights: list[int], slots: int) -> list[int]:
    """Turns per cycle: the weights in lowest terms; if they do not fit, `slots` shared by weight.

    Sharing is by largest remainder. First, each real whose share is below one slot gets one.
    Needs: all weights ≥ 1, at most one real per slot.
    """
    if sum(weights) > slots * gcd(*weights):
        weights = _share_out(weights, slots)
    divisor = gcd(*weights)
    return [weight // divisor for weight in weights]


def _share_out(weights: list[int], slots: int) -> list[int]:
    turns = [1] * len(weights)
    sharing = list(range(len(weights)))
    total = sum(weights)
    while small := {i for i in sharing if weights[i] * slots < total}:
        slots -= len(small)
        total -= sum(weights[i] for i in small)
        sharing = [i for i in sharing if i not in small]
    for i in sharing:
        turns[i] = weights[i] * slots // total
    left = slots - sum(turns[i] for i in sharing)
    for i in sorted(sharing, key=lambda i: weights[i] * slots % total, reverse=True)[:left]:
        turns[i] += 1
    return turns


WRR = Scheduler("wrr", Pick.TURN, frozenset(), fill)
