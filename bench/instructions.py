# SPDX-License-Identifier: MIT
"""Instructions per packet through the real program: the same at each run, whatever the host does.

It runs the cases of packet.py in a guest of tools/vm. QEMU counts the guest's instructions, and
each takes a nanosecond of the guest's time. So wrapper.c and stopwatch.py, which measure
nanoseconds, count instructions there. This includes the kernel's helpers. It does not show what
an instruction costs: a cache miss is one instruction. So the cases of a million flows are left
out, and `rr-new` replaces `rr-syn`, whose table is full.
"""

import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cases
import click
import guest
import rig
from frames import SYN, Order, Stream
from rich.console import Console
from rich.table import Table
from stopwatch import Case, Wrapper, measure

# Runs are short, and the quiet figure is used: the shortest runs have no interrupt in them.
ROUNDS, PACKETS = 21, 1000
CASES = {
    **{name: case for name, case in cases.CASES.items() if case.stream.flows == 1},
    "mh-syn": cases.CASES["mh-syn"],
    "rr-new": Case(Stream(Order.SEQUENTIAL, 0, SYN, cases.RR)),
}


def count(trees: Sequence[Path], names: Sequence[str]) -> None:
    """The guest's part: print each case's row as soon as it is known."""
    rig.enter_namespace()
    with contextlib.ExitStack() as stack:
        wrapper = stack.enter_context(contextlib.closing(Wrapper()))
        directors = rig.directors(stack, trees, cases.SERVICES)
        for name in names:
            case = replace(CASES[name], rounds=ROUNDS, packets=PACKETS)
            counted = [measured.row() for measured in measure(wrapper, directors, case)]
            insns = [round(row["quiet_ns"]) for row in counted]
            floor = round(counted[0]["quiet_floor_ns"])
            print(json.dumps({"case": name, "insns": insns, "floor_insns": floor}), flush=True)


@click.command()
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)), help="Only these.")
@click.option("--program-dir", default=str(rig.HERE.parent), help=rig.PROGRAM_HELP)
@click.option("--against", help="Also count this one's.")
def main(names: tuple[str, ...], program_dir: str, against: str | None) -> None:
    """Count instructions a packet through the program; two to five minutes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    titles = ["case", "instructions", *(["against", "difference"] if against else []), "floor"]
    table = Table(*titles, caption=f"against {against}" if against else None)
    for column in table.columns[1:]:
        column.justify = "right"
    with contextlib.ExitStack() as stack:
        trees = [stack.enter_context(rig.snapshot(text)) for text in (program_dir, against) if text]
        words = ["--guest", *map(str, trees), "--", *(names or CASES)]
        script = Path(__file__).resolve()
        for row in guest.rows(guest.command(script, words, 1, guest.COUNTING)):
            mine, *others = row["insns"]
            theirs = [f"{others[0]}", f"{mine - others[0]:+d}"] if others else ["", ""]
            table.add_row(
                row["case"], str(mine), *(theirs if against else []), str(row["floor_insns"])
            )
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--guest"]:
        end = sys.argv.index("--")
        count([Path(word) for word in sys.argv[2:end]], sys.argv[end + 1 :])
    else:
        main()
