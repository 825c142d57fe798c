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
    """Begins when it is made, and anew with each lap."""

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

    def lap(self) -> Observed:
        """What changed since the beginning, which is now from here on."""
        (cores, nics, director), (cores_now, nics_now, director_now) = self._before, self._look()
        now = time.monotonic()
        seconds, self._start = now - self._start, now
        self._before = (cores_now, nics_now, director_now)
        interfaces = {
            name: {field: getattr(nic, field) - getattr(nics[name], field) for field in _INTERFACE}
            for name, nic in nics_now.items()
            if name in nics
        }
        return Observed(
            seconds,
            [_busy(before, now) for before, now in zip(cores, cores_now, strict=True)],
            {name: moved for name, moved in interfaces.items() if any(moved.values())},
            None if director is None or director_now is None else _moved(director, director_now),
        )


def packets_sent() -> dict[str, int]:
    """How many each interface of this network namespace has sent; some have sent none."""
    nics = psutil.net_io_counters(pernic=True, nowrap=False)
    return {name: nic.packets_sent for name, nic in nics.items()}


def _moved(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    """Counters that moved; an upgrade meanwhile may have brought new ones."""
    return {name: n - before.get(name, 0) for name, n in now.items() if n != before.get(name, 0)}


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
