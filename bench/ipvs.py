# SPDX-License-Identifier: MIT
"""IPVS and xdplb side by side, on Debian's kernel: into bench/results/ipvs.json, with plots.

Each part boots a guest (tools/vm), which runs bench/ipvs_<part>.py on a copy of this tree and
prints each row of the results as a line of JSON. That script says what it measures.
docs/performance.md says how to read the results.
"""

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import guest
import ipvs_plot
import rig

OUT = rig.RESULTS / "ipvs.json"


@dataclass(frozen=True)
class Part:
    """A guest, and the key of its rows in the results."""

    key: str
    what: str
    cores: int
    accelerator: str


PARTS = {
    "cost": Part("rows", "instructions a packet", 1, guest.COUNTING),
    "rate": Part("throughput", "the highest rate (RFC 2544)", 2, guest.TWO_CORES),
    "web": Part("web", "requests by wrk", 2, guest.TWO_CORES),
}


def run(part: str, tree: Path) -> list[dict[str, Any]]:
    """The part's rows. Raises: ClickException if it failed."""
    about = PARTS[part]
    click.secho(f"\n{part}: {about.what}", bold=True)
    start, rows = time.monotonic(), []
    script = tree / f"bench/ipvs_{part}.py"
    for row in guest.rows(guest.command(script, [], about.cores, about.accelerator)):
        click.echo(json.dumps(row))
        rows.append(row)
    click.echo(f"{part}: {time.monotonic() - start:.0f} s")
    if not rows:
        raise click.ClickException(f"{part} measured nothing")
    return rows


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--program-dir", default=str(rig.HERE.parent), help=rig.PROGRAM_HELP)
@click.option("--replot", is_flag=True, help="Draw what the results hold, measure nothing.")
def main(parts: tuple[str, ...], program_dir: str, replot: bool) -> None:
    """Measure both directors, or only PARTS of it; the results' other parts stay."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    if not replot:
        machine = {**rig.machine(program_dir), "kernel": guest.kernel(), "emulator": "QEMU TCG"}
        with rig.snapshot(program_dir) as tree:
            # An older revision is measured by this tree's bench.
            not_results = shutil.ignore_patterns("results")
            shutil.copytree(rig.HERE, tree / "bench", dirs_exist_ok=True, ignore=not_results)
            for part in parts or PARTS:
                rows = run(part, tree)
                result.setdefault("machines", {})[PARTS[part].key] = machine
                result[PARTS[part].key] = rows
                OUT.write_text(json.dumps(result, indent=1) + "\n")
    for path in ipvs_plot.plot(result):
        click.echo(os.path.relpath(path))


if __name__ == "__main__":
    main()
