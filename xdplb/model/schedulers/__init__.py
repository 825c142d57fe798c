# SPDX-License-Identifier: MIT
"""The schedulers. To add one: a file beside this one, and a line in the registry."""

from collections.abc import Iterable

from xdplb.errors import UsageError
from xdplb.model.address import Address
from xdplb.model.schedulers import mh, sh
from xdplb.model.schedulers.base import Pick, Ring, Scheduler
from xdplb.model.schedulers.mh import MH, check_ring_slots
from xdplb.model.schedulers.rr import RR
from xdplb.model.schedulers.sh import SH
from xdplb.model.schedulers.wrr import WRR
from xdplb.model.service import Service

__all__ = [
    "SCHEDULERS",
    "Pick",
    "Ring",
    "Scheduler",
    "check_flags",
    "check_ring_slots",
    "choose_real",
    "choose_slot",
    "get_scheduler",
]

SCHEDULERS: dict[str, Scheduler] = {scheduler.name: scheduler for scheduler in (RR, WRR, MH, SH)}


def get_scheduler(name: str) -> Scheduler:
    """Look a scheduler up by its name. Raises: UsageError naming the valid ones."""
    if name not in SCHEDULERS:
        raise UsageError(f"unknown scheduler '{name}'", f"choose one of {', '.join(SCHEDULERS)}")
    return SCHEDULERS[name]


def check_flags(scheduler: Scheduler, flags: Iterable[str]) -> None:
    """Each flag must be one of the scheduler's own. Raises: UsageError naming the valid ones."""
    for flag in sorted(set(flags) - scheduler.flags):
        valid = ", ".join(sorted(scheduler.flags, reverse=True))
        raise UsageError(
            f"scheduler {scheduler.name} has no flag '{flag}'",
            f"choose from {valid}" if valid else "give none: it has no flags",
        )


def choose_slot(service: Service, client: Address, client_port: int, ring_slots: int) -> int:
    """The slot that a client's packets hash to, as the C program computes it.

    Raises: UsageError for a scheduler that goes by turns (rr, wrr).
    """
    scheduler = get_scheduler(service.scheduler)
    port = client_port if f"{scheduler.name}-port" in service.flags else 0
    if scheduler.pick == Pick.MH:
        return mh.choose_slot(client, port, ring_slots)
    if scheduler.pick == Pick.SH:
        return sh.choose_slot(client, port)
    raise UsageError(
        f"scheduler {scheduler.name} goes by turns, not by client", "ask this of mh or sh"
    )


def choose_real(service: Service, ring: Ring, client: Address, client_port: int) -> int | None:
    """The position in `service.reals` of a client's real; None if no real can be used.

    Raises: UsageError for a scheduler that goes by turns (rr, wrr).
    """
    slot = choose_slot(service, client, client_port, len(ring.owners) or 1)
    if not len(ring.owners):
        return None
    if ring.reselect[slot]:
        return mh.reselect(ring, client, client_port if "mh-port" in service.flags else 0)
    return int(ring.owners[slot])
