# SPDX-License-Identifier: MIT
"""Nanoseconds per packet through the real program, as multiples of the floor (see wrapper.c)."""

import contextlib
import json
import signal
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import rig
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rig import ACK, SYN, Balanced, Director, Order, Stream, Wrapper

from xdplb.dataplane import libbpf

MILLION = 1 << 20
REALS = 100
MH, RR, NOBODY = 0, 1, 4000  # numbers of services; the VIP of the last is not there
SERVICES = [Balanced(MH, "mh", REALS), Balanced(RR, "rr", REALS)]

Prepare = Callable[[Wrapper, int, Director], None]


def nothing(wrapper: Wrapper, target: int, director: Director) -> None:
    """The case needs no flows."""


def establish(flows: int) -> Prepare:
    """A SYN and an ACK of each flow."""

    def prepare(wrapper: Wrapper, target: int, director: Director) -> None:
        for flags in (SYN, ACK):
            wrapper.run(target, Stream(Order.SEQUENTIAL, flows, flags, RR), flows)

    return prepare


def flood(wrapper: Wrapper, target: int, director: Director) -> None:
    """A table full of other flows' SYNs."""
    places = director.tables.flows.entries * 8
    wrapper.run(target, Stream(Order.SEQUENTIAL, 0, SYN, RR), places * 3 // 2, 1 << 31)


@dataclass(frozen=True)
class Case:
    """A stream of packets, what comes before it, and what it may cost: a multiple of the floor."""

    stream: Stream
    target: float
    prepare: Prepare = nothing
    counter: str = "forwarded"
    rounds: int = 501  # short runs, many rounds: a neighbour's load falls on all targets alike
    packets: int = 30_000


CASES = {
    "mh-1": Case(Stream(Order.FIXED, 1, ACK, MH), 4.0),
    "mh-1M": Case(Stream(Order.RANDOM, MILLION, ACK, MH), 4.5),
    "mh-syn": Case(Stream(Order.SEQUENTIAL, 0, SYN, MH), 4.5),
    "rr-1": Case(Stream(Order.FIXED, 1, ACK, RR), 3.8, establish(1)),
    "rr-1M": Case(
        Stream(Order.RANDOM, MILLION, ACK, RR),
        14.0,
        establish(MILLION),
        rounds=201,
        packets=120_000,
    ),
    "rr-syn": Case(Stream(Order.SEQUENTIAL, 0, SYN, RR), 15.0, flood, rounds=201, packets=120_000),
    "pass": Case(Stream(Order.FIXED, 1, ACK, NOBODY), 1.6, counter="pass_not_vip"),
}


def check(wrapper: Wrapper, target: int, director: Director, case: Case) -> None:
    """One packet must be treated right: a benchmark of drops is worth nothing."""
    frame = case.stream.frame()
    before = director.counted
    got = libbpf.prog_test_run(director.fd, frame, ifindex=wrapper.ifindex)
    moved = {name: n - before[name] for name, n in director.counted.items() if n != before[name]}
    assert moved == {case.counter: 1}, f"a packet was counted as {moved}"
    if case.counter == "forwarded":
        real = rig.IPv4Address(got.frame[30:34])
        assert got.action == libbpf.XDP_ACTIONS.index("XDP_TX")
        assert got.frame == rig.wrapped(frame, real), "the frame is not wrapped as it should be"
    else:
        assert got.action == libbpf.XDP_ACTIONS.index("XDP_PASS")
        assert got.frame == frame, "the frame did not pass untouched"


def measure_case(
    wrapper: Wrapper, directors: list[Director], case: Case, rounds: int, packets: int
) -> list[rig.Measured]:
    """Measures a case on all directors, interleaved."""
    targets = list(range(rig.FIRST_TARGET, rig.FIRST_TARGET + len(directors)))
    for target, director in zip(targets, directors, strict=True):
        director.forget_flows()
        wrapper.set_target(target, director.fd)
        case.prepare(wrapper, target, director)
        check(wrapper, target, director, case)
        wrapper.run(target, case.stream, packets)
    before = [director.counted for director in directors]
    measured = rig.measure(wrapper, targets, case.stream, rounds=rounds, packets=packets)
    for director, old in zip(directors, before, strict=True):
        share = (director.counted[case.counter] - old[case.counter]) / rounds / packets
        assert share > 0.999, f"only {share:.1%} of the packets were counted {case.counter}"
    return measured


def live(
    trees: list[Path], names: list[str], rounds: int | None, packets: int | None, lives: int
) -> dict[str, list[rig.Measured]]:
    """Measures all cases with programs compiled for it alone. By case, then by program."""
    with contextlib.ExitStack() as stack:
        wrapper = stack.enter_context(contextlib.closing(Wrapper()))
        directors = [
            stack.enter_context(
                contextlib.closing(
                    Director(tree, stack.enter_context(rig.pins(str(label))), SERVICES)
                )
            )
            for label, tree in enumerate(trees)
        ]
        return {
            name: measure_case(
                wrapper,
                directors,
                CASES[name],
                max(1, (rounds or CASES[name].rounds) // lives),
                packets or CASES[name].packets,
            )
            for name in names
        }


def new_table(against: str | None) -> Table:
    titles = ["case", "ns", "floor", "× floor", "at most", "", "quiet ns", "× floor"]
    if against:
        other = Path(against).name
        titles += [f"{other}: ns", "× floor", "quiet ns", "× floor", "difference", "by life"]
    else:
        titles += ["quartiles, ns"]
    table = Table(*titles)
    for column in table.columns[1:]:
        column.justify = "right"
        column.no_wrap = True
    return table


def add_row(table: Table, row: dict[str, Any], lives: list[list[rig.Measured]]) -> None:
    low, high = row["ns_quartiles"]
    noisy = "noisy " if high - low > 0.1 * row["ns"] else ""
    ns, ratio, quiet, quiet_ratio = figures(row)
    verdict = noisy + ("ok" if row["ratio"] <= row["at_most"] else "ABOVE")
    floor, at_most = f"{row['floor_ns']:.1f}", f"{row['at_most']:.1f}"
    cells = [row["case"], ns, floor, ratio, at_most, verdict, quiet, quiet_ratio]
    if len(lives[0]) > 1:
        theirs = rig.pooled([life[1] for life in lives]).row()
        changes = rig.difference([(life[0], life[1]) for life in lives])
        change = statistics.median(changes)
        cells += [
            *figures(theirs),
            f"{change:+.1f} ns {change / theirs['ns']:+.1%}",
            f"{changes[0]:+.1f} … {changes[-1]:+.1f}",
        ]
    else:
        cells += [f"{low:.1f} … {high:.1f}"]
    table.add_row(*cells)


def figures(row: dict[str, Any]) -> list[str]:
    names = ("ns", "ratio", "quiet_ns", "quiet_ratio")
    return [f"{row[name]:.{2 if 'ratio' in name else 1}f}" for name in names]


LIVES_HELP = "Compile and load all anew so often: where code and tables come to lie costs ± 5 %."
PROGRAM_HELP = "What to measure: a tree, a directory of C files, or a git revision. [this tree]"


@click.command()
@click.option("--rounds", type=int, help="Rounds, of all lives together. [by case]")
@click.option("--packets", type=int, help="Packets per round and target. [by case]")
@click.option("--lives", default=3, show_default=True, help=LIVES_HELP)
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)), help="Only these.")
@click.option("--out", type=Path, help="Where the JSON goes. [bench/results/packet.json if whole]")
@click.option("--quick", is_flag=True, help="75 rounds, one life.")
@click.option("--program-dir", default=str(rig.HERE.parent), help=PROGRAM_HELP)
@click.option("--against", help="Also measure this one, interleaved.")
def main(
    rounds: int | None,
    packets: int | None,
    lives: int,
    names: tuple[str, ...],
    out: Path | None,
    quick: bool,
    program_dir: str,
    against: str | None,
) -> None:
    """Measure nanoseconds per packet through the program."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = list(names or CASES)
    if quick:
        rounds, lives = rounds or 75, 1
    rig.enter_namespace()
    with contextlib.ExitStack() as stack:
        trees = [stack.enter_context(rig.snapshot(text)) for text in (program_dir, against) if text]
        try:
            results = [live(trees, chosen, rounds, packets, lives) for _ in track(range(lives))]
        except rig.Unbuildable as error:
            raise click.ClickException(str(error)) from error
    rows, table = [], new_table(against)
    for name in chosen:
        of_lives = [result[name] for result in results]
        first = [measured[0] for measured in of_lives]
        row = {
            "case": name,
            **rig.pooled(first).row(),
            "ratio_of_lives": [life.row()["ratio"] for life in first],
            "at_most": CASES[name].target,
        }
        rows.append(row)
        add_row(table, row, of_lives)
    Console(width=150).print(table)
    if not (out or quick or names or against):
        out = rig.RESULTS / "packet.json"
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps({"machine": rig.machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
