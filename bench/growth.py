# SPDX-License-Identifier: MIT
"""How a packet's cost grows with flows, services and reals: JSON and a plot."""

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import drawing
import rig
from frames import ACK, Order, Stream
from rich.progress import track
from rig import Balanced, Director
from stopwatch import Case, Measured, Wrapper, establish, measure, pooled

MILLION = 1 << 20
FLOWS = (1, 8, 64, 512, 4096, 1 << 15, 1 << 18, 1 << 20, 1 << 21, 1 << 22, 1 << 23)
SERVICES = tuple(1 << i for i in range(10))  # 1 … 512
REALS = tuple(2 << i for i in range(12))  # 2 … 4096


@dataclass(frozen=True)
class Panel:
    """One plot with one or two curves: what grows, how far, on which director.

    points: (scheduler, number, case).
    """

    name: str
    title: str
    services: tuple[Balanced, ...]
    tunables: dict[str, int]
    points: tuple[tuple[str, int, Case], ...]


def case(stream: Stream, recorded: bool = False) -> Case:
    rounds, packets = (41, 120_000) if recorded and stream.flows > 4096 else (101, 30_000)
    if recorded:
        return Case(stream, establish(stream), rounds=rounds, packets=packets)
    return Case(stream, rounds=rounds, packets=packets)


def flows_panel() -> Panel:
    services = (Balanced(0, "mh", 100), Balanced(1, "rr", 100))
    return Panel(
        "flows",
        "flows (random order; 1 service, 100 reals; table of 32 M flows)",
        services,
        # Four records per flow of the longest curve: with one, an eighth of the flows has none.
        {"flow_buckets": 1 << 22},
        tuple(
            (s.scheduler, n, case(Stream(Order.RANDOM, n, ACK, s.number), s.scheduler == "rr"))
            for s in services
            for n in FLOWS
        ),
    )


def services_panel() -> Panel:
    return Panel(
        "services",
        "services (8 reals each; 1 M random flows)",
        tuple(Balanced(number, "mh", 8) for number in range(max(SERVICES))),
        {},
        tuple(("mh", n, case(Stream(Order.RANDOM, MILLION, ACK, services=n))) for n in SERVICES),
    )


def reals_panel() -> Panel:
    return Panel(
        "reals",
        "reals (1 service, ring of 65,521 slots; 1 M random flows)",
        tuple(Balanced(number, "mh", n) for number, n in enumerate(REALS)),
        {"ring_slots": 65521},
        tuple(
            ("mh", n, case(Stream(Order.RANDOM, MILLION, ACK, number)))
            for number, n in enumerate(REALS)
        ),
    )


PANELS = {"flows": flows_panel, "services": services_panel, "reals": reals_panel}


@contextlib.contextmanager
def director(tree: Path, panel: Panel) -> Iterator[Director]:
    with (
        rig.pins(panel.name) as pins,
        contextlib.closing(Director(tree, pins, panel.services, **panel.tunables)) as made,
    ):
        yield made


def measure_panel(tree: Path, panel: Panel, lives: int) -> list[dict[str, Any]]:
    """Rows of all points, each over all lives."""
    measured: list[list[Measured]] = [[] for _ in panel.points]
    for _ in track(range(lives), description=panel.name):
        with contextlib.closing(Wrapper()) as wrapper, director(tree, panel) as target:
            for point, (_, _, of_point) in enumerate(panel.points):
                measured[point] += measure(wrapper, [target], of_point)
    return [
        {"series": panel.name, "scheduler": scheduler, panel.name: n, **pooled(of_lives).row()}
        for (scheduler, n, _), of_lives in zip(panel.points, measured, strict=True)
    ]


def short(number: int) -> str:
    """A short form of a number: 8388608 is 8 M."""
    for unit, name in ((1 << 20, " M"), (1 << 10, " K")):
        if number >= unit:
            return f"{number // unit}{name}"
    return str(number)


def plot(result: dict[str, Any], place: Path) -> None:
    """Draws the rows as PNG and SVG."""
    pyplot = drawing.pyplot()
    styles = {name: drawing.STYLES[name] for name in ("mh", "rr")}
    present = [name for name in PANELS if any(r["series"] == name for r in result["rows"])]
    figure, axes = pyplot.subplots(
        1, len(present), figsize=(5 * len(present), 4), sharey=True, squeeze=False
    )
    for axis, name in zip(axes[0], present, strict=True):
        rows = [row for row in result["rows"] if row["series"] == name]
        for scheduler, (colour, marker) in styles.items():
            mine = [row for row in rows if row["scheduler"] == scheduler]
            if not mine:
                continue
            x = [row[name] for row in mine]
            low, high = zip(*(row["ns_quartiles"] for row in mine), strict=True)
            axis.plot(x, [row["ns"] for row in mine], color=colour, marker=marker, label=scheduler)
            axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
        x = sorted({row[name] for row in rows})
        floor = [min(row["floor_ns"] for row in rows if row[name] == n) for n in x]
        axis.plot(x, floor, color=drawing.GREY, linestyle="--", label="floor: prepend a header")
        axis.set_xscale("log", base=2)
        step = 3 if x[-1] > 4096 else 1  # octaves between ticks
        axis.set_xticks([n for n in x if (n.bit_length() - 1) % step == 0])
        axis.xaxis.set_major_formatter(lambda n, _: short(int(n)))
        axis.set_xlabel(PANELS[name]().title, fontsize=9)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("ns per packet")
    axes[0][0].legend(frameon=False)
    note = "Line: median; band: quartiles. Established TCP, 54-byte frames."
    drawing.save(figure, place, result["machine"], note)


@click.command()
@click.option("--lives", default=2, show_default=True, help="Compile and load all anew so often.")
@click.option("--series", multiple=True, type=click.Choice(list(PANELS)), help="Only these.")
@click.option("--out", type=Path, default=rig.RESULTS / "growth.json", show_default=True)
@click.option("--program-dir", default=str(rig.HERE.parent), help=rig.PROGRAM_HELP)
@click.option("--replot", is_flag=True, help="Draw what --out holds, measure nothing.")
def main(lives: int, series: tuple[str, ...], out: Path, program_dir: str, replot: bool) -> None:
    """Measure how cost grows with flows, services and reals."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if replot:
        plot(json.loads(out.read_text()), out)
        return
    rig.enter_namespace()
    rows = []
    with rig.snapshot(program_dir) as tree:
        for name in series or PANELS:
            rows += measure_panel(tree, PANELS[name](), lives)
    for row in rows:
        of = f"{row['scheduler']}, {row[row['series']]:,} {row['series']}"
        costs = f"{row['ns']:7.1f} ns {row['ratio']:6.2f} × floor"
        print(f"{of:24} {costs}, quiet {row['quiet_ns']:.1f} ns {row['quiet_ratio']:.2f} × floor")
    result = {"machine": rig.machine(program_dir), "rows": rows}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    plot(result, out)


if __name__ == "__main__":
    main()
