# SPDX-License-Identifier: MIT
"""The long run: make fuzz [N=frames] [SEED=number] [ROUND=number] [PROGRAM=xdplb|decap]."""

import time
from collections import Counter
from collections.abc import Sequence
from random import SystemRandom

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from fuzz.programs import PROGRAMS, UNREACHABLE
from fuzz.session import ROUND, Failed, run


@click.command()
@click.option("--frames", default=5_000_000, help="How many, for each program.")
@click.option("--seed", type=int, help="Where chance begins. [default: by chance]")
@click.option("--round", "number", type=int, help="Only this round of the run.")
@click.option("--program", "names", multiple=True, type=click.Choice(list(PROGRAMS)))
def main(frames: int, seed: int | None, number: int | None, names: Sequence[str]) -> None:
    """Compare the programs with the reference, on random and mutated frames.

    Ctrl-C ends it early, with the counts so far.
    """
    seed = SystemRandom().randrange(1 << 32) if seed is None else seed
    if number is not None:
        frames = ROUND
    console = Console()
    for name in names or PROGRAMS:
        console.print(f"{name}: SEED={seed}")
        if not fuzz(console, name, seed, number or 0, frames):
            raise SystemExit(1)


def fuzz(console: Console, name: str, seed: int, first: int, frames: int) -> bool:
    """Fuzz one program. Returns: whether it agreed with the reference to the end."""
    counted: Counter[str] = Counter()
    finished = False
    with PROGRAMS[name]() as world:
        start = time.monotonic()
        columns = *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn()
        try:
            with Progress(*columns, console=console) as progress:
                task = progress.add_task(name, total=frames)
                for each in run(world, seed, first, frames):
                    counted += each
                    progress.advance(task, each.total())
            finished = True
        except Failed as failed:
            console.print(str(failed), markup=False, highlight=False, soft_wrap=True)
            return False
        except KeyboardInterrupt:
            console.print("interrupted")
        seconds = time.monotonic() - start
        console.print(summary(name, world.counters, counted))
        console.print(f"{counted.total()} frames, {counted.total() / seconds:.0f} a second")
    return finished


def summary(name: str, counters: Sequence[str], counted: Counter[str]) -> Table:
    """Print how often each counter was reached."""
    table = Table("counter", "frames", "", title=name, box=None)
    for counter in counters:
        table.add_row(counter, str(counted[counter]), UNREACHABLE.get(counter, ""))
    return table


main()
