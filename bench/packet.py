# SPDX-License-Identifier: MIT
"""Nanoseconds per packet through the real program, as multiples of the floor (see wrapper.c)."""

import contextlib
import json
import signal
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import drawing
import rig
from cases import CASES, SERVICES
from rich.console import Console
from rich.progress import track
from rich.table import Table
from stopwatch import Case, Measured, Wrapper, difference, measure, pooled

# The limits of some cases, as multiples of the floor. The other cases are beside one of these.
AT_MOST = {
    "mh-1": 4.0,
    "mh-1M": 4.5,
    "mh-syn": 4.5,
    "rr-1": 3.8,
    "rr-1M": 14.0,
    "rr-syn": 15.0,
    "pass": 1.6,
}


def live(trees: list[Path], cases: dict[str, Case]) -> dict[str, list[Measured]]:
    """Measures cases on freshly compiled programs. Returns: by case, then by program."""
    with contextlib.ExitStack() as stack:
        wrapper = stack.enter_context(contextlib.closing(Wrapper()))
        directors = rig.directors(stack, trees, SERVICES)
        return {name: measure(wrapper, directors, case) for name, case in cases.items()}


def scaled(case: Case, rounds: int | None, packets: int | None, lives: int) -> Case:
    """A case with the command line's numbers, for one of `lives` lives."""
    return replace(
        case,
        rounds=max(2, (rounds or case.rounds) // lives),
        packets=packets or case.packets,
    )


def new_table(against: str | None) -> Table:
    titles = ["case", "ns", "floor", "× floor", "at most", "", "memory", "quiet ns", "× floor"]
    if against:
        titles += ["against", "× floor", "quiet ns", "× floor", "difference", "by life"]
    else:
        titles += ["beside", "quartiles, ns"]
    caption = "memory: the floor that also writes one cache line of the flow's own"
    table = Table(*titles, caption=f"against {against}; {caption}" if against else caption)
    for column in table.columns:
        column.justify = "left" if column is table.columns[0] else "right"
        column.no_wrap = True
    return table


def add_row(
    table: Table, row: dict[str, Any], lives: list[list[Measured]], against: str | None
) -> None:
    low, high = row["ns_quartiles"]
    noisy = "noisy " if high - low > 0.1 * row["ns"] else ""
    ns, ratio, quiet, quiet_ratio = figures(row)
    at_most = row["at_most"]
    verdict = noisy + ("" if at_most is None else "ok" if row["ratio"] <= at_most else "ABOVE")
    floor, memory = f"{row['floor_ns']:.1f}", f"{row['remember_ns']:.1f}"
    cells = [row["case"], ns, floor, ratio, "" if at_most is None else f"{at_most:.1f}", verdict]
    cells += [memory, quiet, quiet_ratio]
    if not against:
        cells += [beside(row), f"{low:.1f} … {high:.1f}"]
    elif len(lives[0]) > 1:
        theirs = pooled([life[1] for life in lives]).row()
        changes = difference([(life[0], life[1]) for life in lives])
        change = statistics.median(changes)
        cells += [
            *figures(theirs),
            f"{change:+.1f} ns {change / theirs['ns']:+.1%}",
            f"{changes[0]:+.1f} … {changes[-1]:+.1f}",
        ]
    table.add_row(*cells)


def beside(row: dict[str, Any]) -> str:
    """The cost beside the plainer case, such as `1.20 × mh-1`."""
    return f"{row['beside_ratio']:.2f} × {row['beside']}" if row["beside_ratio"] else ""


def figures(row: dict[str, Any]) -> list[str]:
    names = ("ns", "ratio", "quiet_ns", "quiet_ratio")
    return [f"{row[name]:.{2 if 'ratio' in name else 1}f}" for name in names]


def plot(result: dict[str, Any], place: Path) -> None:
    """Draws the rows as PNG and SVG: bars, and their limits."""
    pyplot = drawing.pyplot()
    figure, axis = pyplot.subplots(figsize=(7, 1.4 + 0.37 * len(result["rows"])))
    for y, row in enumerate(result["rows"]):
        kind = row["case"].partition("-")[0]
        colour, hatch = drawing.bar(kind)
        low, high = (ns / row["floor_ns"] for ns in row["ns_quartiles"])
        ratio, at_most = row["ratio"], row["at_most"]
        axis.barh(y, ratio, 0.6, color=colour, hatch=hatch, edgecolor="white")
        error = [[max(0, ratio - low)], [max(0, high - ratio)]]
        axis.errorbar(ratio, y, xerr=error, color="black", capsize=3)
        text = f"{ratio:.2f} ×  {row['ns']:.0f} ns"
        if at_most is not None:
            axis.plot([at_most] * 2, [y - 0.42, y + 0.42], color="black", linewidth=2.5)
            text += "" if ratio <= at_most else "  above"
        elif row["beside_ratio"]:
            text += f"  ({beside(row)})"
        axis.text(max(ratio, high, at_most or 0) + 0.2, y, text, va="center", fontsize=8)
    axis.axvline(1, color=drawing.GREY, linestyle="--", linewidth=1, label="floor")
    axis.legend(frameon=False, loc="upper right")
    axis.set_yticks(range(len(result["rows"])), [row["case"] for row in result["rows"]])
    axis.invert_yaxis()
    axis.set_xlim(0, 1.4 * max(max(row["ratio"], row["at_most"] or 0) for row in result["rows"]))
    axis.set_xlabel("cost per packet, × floor (floor: prepend a constant outer header)")
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    drawing.save(
        figure,
        place,
        result["machine"],
        "Bar: median; thin line: quartiles; thick line: at most. TCP without data, 100 reals. "
        "In brackets: beside that case, both quiet.",
    )


LIVES_HELP = "Compile and load all anew so often: where code and tables come to lie costs ± 5 %."


@click.command()
@click.option("--rounds", type=int, help="Rounds, of all lives together. [by case]")
@click.option("--packets", type=int, help="Packets per round and target. [by case]")
@click.option("--lives", default=3, show_default=True, help=LIVES_HELP)
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)), help="Only these.")
@click.option("--out", type=Path, help="Where the JSON goes. [bench/results/packet.json if whole]")
@click.option("--quick", is_flag=True, help="75 rounds, one life.")
@click.option("--program-dir", default=str(rig.HERE.parent), help=rig.PROGRAM_HELP)
@click.option("--against", help="Also measure this one, interleaved.")
@click.option("--replot", is_flag=True, help="Draw what is in --out, measure nothing.")
def main(
    rounds: int | None,
    packets: int | None,
    lives: int,
    names: tuple[str, ...],
    out: Path | None,
    quick: bool,
    program_dir: str,
    against: str | None,
    replot: bool,
) -> None:
    """Measure nanoseconds per packet through the program."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if replot:
        out = out or rig.RESULTS / "packet.json"
        plot(json.loads(out.read_text()), out)
        return
    if quick:
        rounds, lives = rounds or 75, 1
    chosen = {
        name: scaled(case, rounds, packets, lives)
        for name, case in CASES.items()
        if name in (names or CASES)
    }
    rig.enter_namespace()
    with contextlib.ExitStack() as stack:
        trees = [stack.enter_context(rig.snapshot(text)) for text in (program_dir, against) if text]
        results = [live(trees, chosen) for _ in track(range(lives))]
    rows, table = [], new_table(against)
    for name in chosen:
        of_lives = [result[name] for result in results]
        first = [measured[0] for measured in of_lives]
        row = {
            "case": name,
            **pooled(first).row(),
            "ratio_of_lives": [life.row()["ratio"] for life in first],
            "at_most": AT_MOST.get(name),
            "beside": CASES[name].beside,
        }
        other = next((r for r in rows if r["case"] == row["beside"]), None)
        row["beside_ratio"] = other and round(row["quiet_ns"] / other["quiet_ns"], 3)
        rows.append(row)
        add_row(table, row, of_lives, against)
    Console(width=170).print(table)
    if not (out or quick or names or against):
        out = rig.RESULTS / "packet.json"
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        result = {"machine": rig.machine(program_dir), "rows": rows}
        out.write_text(json.dumps(result, indent=1) + "\n")
        plot(result, out)


if __name__ == "__main__":
    main()
