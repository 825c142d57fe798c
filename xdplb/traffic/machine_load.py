# SPDX-License-Identifier: MIT
"""What this machine did meanwhile: its cores, its interfaces, its director if there is one."""

import time
from dataclasses import dataclass
from typing import Any

import psutil

from xdplb.director.readings import Readings
from xdplb.errors import NotAttached

_INTERFACE = ("packets_sent", "bytes_sent", "packets_recv", "bytes_recv", "dropin", "dropout")


@dataclass(frozen=True)
class Observed:
    """Differences between two moments."""

    seconds: float
    cores: list[dict[str, float]]  # percent: busy, and how much of it in softirqs
    interfaces: dict[str, dict[str, int]]  # of this network namespace; those that moved
    director: dict[str, int] | None  # counters that moved; None where none is attached


class MachineLoad:
    """Begins when it is made."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._before = self._look()
        self._start = time.monotonic()

    def _look(self) -> tuple[Any, Any, Any]:
        return (
            psutil.cpu_times(percpu=True),
            psutil.net_io_counters(pernic=True),
            _director_counters(self._instance),
        )

    def end(self) -> Observed:
        """What changed since the beginning."""
        seconds = time.monotonic() - self._start
        (cores, nics, director), (cores_now, nics_now, director_now) = self._before, self._look()
        interfaces = {
            name: {field: getattr(now, field) - getattr(nics[name], field) for field in _INTERFACE}
            for name, now in nics_now.items()
            if name in nics
        }
        return Observed(
            seconds,
            [_busy(before, now) for before, now in zip(cores, cores_now, strict=True)],
            {name: moved for name, moved in interfaces.items() if any(moved.values())},
            None
            if director is None or director_now is None
            else {k: n - director[k] for k, n in director_now.items() if n != director[k]},
        )


def _busy(before: Any, now: Any) -> dict[str, float]:
    # guest time is part of user time already
    fields = [name for name in now._fields if not name.startswith("guest")]
    spent = {name: getattr(now, name) - getattr(before, name) for name in fields}
    total = sum(spent.values()) or 1.0
    busy = total - spent["idle"] - spent.get("iowait", 0.0)
    return {
        "busy": round(100 * busy / total, 1),
        "softirq": round(100 * spent.get("softirq", 0.0) / total, 1),
    }


def _director_counters(instance: str) -> dict[str, int] | None:
    try:
        return dict(Readings(instance).counters())
    except NotAttached:
        return None
