# SPDX-License-Identifier: MIT
"""IPVS and xdplb side by side, on Debian's kernel: into bench/results/ipvs.json, with plots.

Each part boots a guest (tools/vm), which runs bench/ipvs_<part>.py on a copy of this tree and
prints a row of the results as a line of JSON. What each measures is said there, and how it is to be
read in docs/performance.md.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import ipvs_plot
import rig

OUT = rig.RESULTS / "ipvs.json"
TOP = rig.HERE.parent
# Without instructions that copy by the byte (erms, fsrm): QEMU counts, and takes, one a byte.
CPU = "-cpu max,-avx,-avx2,-la57,-smap,-smep,-pku,-erms,-fsrm"
# As if memory were free: the kernel would fill each page with zeros that IPVS's packets need.
KERNEL_ARGUMENT = "init_on_alloc=0"


@dataclass(frozen=True)
class Part:
    """A guest, and where its rows go."""

    key: str
    what: str
    cores: int
    accelerator: str


PARTS = {
    "cost": Part(
        "rows",
        "instructions a packet",
        1,
        "-accel tcg,thread=single -icount shift=0,sleep=off",
    ),
    "rate": Part("throughput", "the highest rate (RFC 2544)", 2, "-accel tcg,thread=multi"),
    "web": Part("web", "requests by wrk", 2, "-accel tcg,thread=multi"),
}


def kernel() -> str:
    """The guest's."""
    images = (TOP / ".vm/boot").glob("vmlinuz-*")
    return max((image.name.removeprefix("vmlinuz-") for image in images), default="")


def command(part: str, tree: Path) -> list[str]:
    """What boots the guest and runs the part in it. Pure."""
    about = PARTS[part]
    return [
        str(TOP / "tools/vm"),
        *("--smp", str(about.cores), "--memory", "3G", "--append", KERNEL_ARGUMENT),
        *("--qemu-opts", f"{about.accelerator} {CPU}", "--"),
        *("env", f"PYTHONPATH={tree}", "python", str(tree / f"bench/ipvs_{part}.py")),
    ]


def run(part: str, tree: Path) -> list[dict[str, Any]]:
    """The part's rows. Raises: ClickException if it failed."""
    click.secho(f"\n{part}: {PARTS[part].what}", bold=True)
    start, rows = time.monotonic(), []
    process = subprocess.Popen(command(part, tree), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("{"):
                rows.append(json.loads(line))
            click.echo(line, nl=False)
    except BaseException:
        process.terminate()  # it ends the guest
        raise
    finally:
        process.wait()
    click.echo(f"{part}: {time.monotonic() - start:.0f} s")
    if process.returncode or not rows:
        raise click.ClickException(f"{part} ended with {process.returncode}")
    return rows


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--program-dir", default=str(TOP), help=rig.PROGRAM_HELP)
@click.option("--replot", is_flag=True, help="Draw what the results hold, measure nothing.")
def main(parts: tuple[str, ...], program_dir: str, replot: bool) -> None:
    """Measure both directors, or only PARTS of it; the results' other parts stay."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    result: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    if not replot:
        machine = {**rig.machine(program_dir), "kernel": kernel(), "emulator": "QEMU TCG"}
        with rig.snapshot(program_dir) as tree:
            for script in rig.HERE.glob("ipvs*"):  # a revision may be older than they are
                shutil.copy(script, tree / "bench")
            for part in parts or PARTS:
                rows = run(part, tree)
                result.setdefault("machines", {})[PARTS[part].key] = machine
                result[PARTS[part].key] = rows
                OUT.write_text(json.dumps(result, indent=1) + "\n")
    for path in ipvs_plot.plot(result):
        click.echo(os.path.relpath(path))


if __name__ == "__main__":
    main()
