# SPDX-License-Identifier: MIT
"""The control plane's time: whole commands on a large director, and a large ring.

The commands are the real ones, as whole processes, on the director of a lab of namespaces. Their
time is wall-clock time, so other processes add to it. The CPU time is given beside it.
"""

import contextlib
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import rig
from hosts import INTERFACE, Shell, Took, configuration, endpoint, lab_up, real
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rig import Balanced

from xdplb.director import ring_transition, state_file, store
from xdplb.director.state import State
from xdplb.kernel.program_text import enum_values
from xdplb.kernel.tables import Tables
from xdplb.model.schedulers import get_scheduler
from xdplb.model.service import Service, ServiceKey

SERVICES, REALS = 512, 100
RING_SLOTS, RING_REALS = 65521, 1000

# The most milliseconds that each may take. Other cases are measured for comparison only.
AT_MOST = {"ring rebuild + swap": 50.0, "server add": 300.0, "apply from nothing": 10_000.0}


@dataclass(frozen=True)
class Timed:
    """How long a case took, each time."""

    case: str
    of: str
    took: Sequence[Took]

    def row(self) -> dict[str, Any]:
        """The row in the results."""
        at_most = AT_MOST.get(self.case)
        wall, cpu = zip(*self.took, strict=True)
        median = statistics.median(wall)
        return {
            "case": self.case,
            "of": self.of,
            "ms": round(median, 2),
            "ms_range": [round(min(wall), 2), round(max(wall), 2)],
            "cpu_ms": round(statistics.median(cpu), 2),
            "rounds": len(wall),
            "at_most_ms": at_most,
            "ok": None if at_most is None else median <= at_most,
        }


def measure_apply(xdplb: Shell, rounds: int) -> list[Timed]:
    """Apply the whole configuration to a director without services. It stays applied."""
    text = configuration([Balanced(number, "mh", REALS) for number in range(SERVICES)])
    times: dict[str, list[Took]] = {"apply from nothing": [], "apply, no change": [], "flush": []}
    for turn in track(range(rounds), description="apply"):
        if turn:
            times["flush"].append(xdplb("flush"))
        for case in ("apply from nothing", "apply, no change"):
            times[case].append(xdplb("apply", "-", stdin=text))
    of = f"{SERVICES} services × {REALS} reals"
    return [Timed(case, of, took) for case, took in times.items() if took]


def measure_commands(xdplb: Shell, rounds: int, lists: int) -> list[Timed]:
    """Change one service of many; list it, and all. The added real is removed again."""
    times: dict[str, list[Took]] = {}
    for turn in track(range(rounds), description="commands"):
        at = ("-t", endpoint(turn * SERVICES // rounds))
        one = (*at, "-r", str(real(REALS)))
        for case, words in {
            "start-up (--version)": ("--version",),
            "server add": ("server", "add", *one),
            "server edit": ("server", "edit", *one, "-w", "2"),
            "server del": ("server", "del", *one),
            "list, one service": ("list", *at),
            "list": ("list",),
        }.items():
            if case != "list" or turn < lists:
                times.setdefault(case, []).append(xdplb(*words))
    return [
        Timed(case, f"{SERVICES} services × {REALS} reals", took) for case, took in times.items()
    ]


def measure_state(xdplb: Shell, rounds: int) -> list[Timed]:
    """Decode the state, and encode it again, as each command does that changes one service."""
    content = xdplb.instance.state.read_bytes()
    times: dict[str, list[Took]] = {"state, decode": [], "state, encode": []}
    for _ in range(rounds):
        start = now()
        state = state_file.decode(content, "the state")
        middle = now()
        state_file.encode(state)
        for case, a, b in zip(times, (start, middle), (middle, now()), strict=True):
            times[case].append(Took(b.wall - a.wall, b.cpu - a.cpu))
    of = f"{len(content):,} bytes"
    return [Timed(case, of, took) for case, took in times.items()]


class Ring:
    """A service's ring on an attached director."""

    def __init__(self, tables: Tables, state: State, key: ServiceKey) -> None:
        self._tables, self._flags = tables, enum_values("slot_flag")
        self._number, self._indices = state.allocated.id_of(key), state.allocated.indices(key)

    def rebuild(self, service: Service) -> dict[str, Took]:
        """Rebuild it as a change of the service does. Returns: each step's time."""
        size = self._tables.ring.entries
        dtype = ring_transition.slot_dtype(self._tables.ring.leaf)
        steps = [now()]

        filled = get_scheduler(service.scheduler).fill(service, size)
        steps.append(now())
        owners = np.array([0, *self._indices], dtype=np.uint16)[filled.owners + 1]
        merged = ring_transition.merge_rings(
            np.frombuffer(self._tables.read_ring(self._number), dtype).copy(),
            ring_transition.repeat_ring(owners, size, dtype),
            filled.reselect,
            self._indices,
            self._flags["SLOT_RECORDED"],
            self._flags["SLOT_RESELECT"],
        )
        steps.append(now())
        self._tables.write_ring(self._number, merged.tobytes())
        steps.append(now())
        spans = {name: (steps[i], steps[i + 1]) for i, name in enumerate(("fill", "merge", "swap"))}
        spans["all"] = (steps[0], steps[-1])
        return {name: Took(b.wall - a.wall, b.cpu - a.cpu) for name, (a, b) in spans.items()}


def now() -> Took:
    """The time, and this process's CPU time; ms."""
    return Took(1000 * time.perf_counter(), 1000 * time.process_time())


def measure_ring(xdplb: Shell, rounds: int) -> list[Timed]:
    """Fill, merge and swap a large ring. One of its reals is drained and taken back in turn."""
    xdplb("flush")
    xdplb("attach", INTERFACE, "--tune", f"ring_slots={RING_SLOTS}")
    xdplb("apply", "-", stdin=configuration([Balanced(0, "mh", RING_REALS)]))
    place = xdplb.instance
    state = store.read_state(place)
    ((key, service),) = state.wanted.services.items()
    middle = RING_REALS // 2
    drained = list(service.reals)
    drained[middle] = replace(drained[middle], weight=0)
    versions = (replace(service, reals=tuple(drained)), service)

    steps: dict[str, list[Took]] = {}
    with contextlib.closing(store.open_tables(place, state)) as tables:
        ring = Ring(tables, state, key)
        for turn in track(range(rounds), description="ring"):
            for step, took in ring.rebuild(versions[turn % 2]).items():
                steps.setdefault(step, []).append(took)
    edits = [
        xdplb("server", "edit", "-t", endpoint(0), "-r", str(real(middle)), "-w", weight)
        for weight in ("0", "1", "0", "1", "0")
    ]
    of = f"{RING_SLOTS:,} slots × {RING_REALS:,} reals"
    return [
        Timed("ring rebuild + swap", of, steps["all"]),
        Timed("… of it: mh's fill", of, steps["fill"]),
        Timed("… of it: merge", of, steps["merge"]),
        Timed("… of it: swap", of, steps["swap"]),
        Timed("server edit, drain or back", of, edits),
    ]


def new_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table("case", "of", "median, ms", "range, ms", "CPU, ms", "rounds", "at most", "")
    for column in table.columns[2:7]:
        column.justify = "right"
    for row in rows:
        low, high = row["ms_range"]
        at_most = row["at_most_ms"]
        table.add_row(
            row["case"],
            row["of"],
            f"{row['ms']:,.1f}",
            f"{low:,.1f} … {high:,.1f}",
            f"{row['cpu_ms']:,.1f}",
            str(row["rounds"]),
            "" if at_most is None else f"{at_most:,.0f}",
            {None: "", True: "ok", False: "ABOVE"}[row["ok"]],
        )
    return table


@click.command()
@click.option("--rounds", default=11, show_default=True, help="Of the commands; the ring's × 3.")
@click.option("--applies", default=3, show_default=True, help="Rounds of apply.")
@click.option("--lists", default=1, show_default=True, help="Of all 51,200 reals: a long one.")
@click.option("--out", type=Path, default=rig.RESULTS / "control.json", show_default=True)
@click.option("--program-dir", default=str(rig.HERE.parent), help=rig.PROGRAM_HELP)
def main(rounds: int, applies: int, lists: int, out: Path, program_dir: str) -> None:
    """Measure the control plane."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load = os.getloadavg()[0]
    with rig.snapshot(program_dir) as tree, lab_up() as name:
        xdplb = Shell(name, tree)
        attach = Timed("attach", "1 interface", [xdplb("attach", INTERFACE)])
        timed = [attach, *measure_apply(xdplb, applies), *measure_commands(xdplb, rounds, lists)]
        timed += measure_state(xdplb, rounds)
        timed = measure_ring(xdplb, 3 * rounds) + timed
    rows = [each.row() for each in timed]
    machine = {**rig.machine(program_dir), "load": round(load, 2)}
    Console(width=120).print(new_table(rows))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
