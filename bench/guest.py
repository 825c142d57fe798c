# SPDX-License-Identifier: MIT
"""Run a script in a guest of tools/vm. It prints each result as a line of JSON."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import rig

TOP = rig.HERE.parent
# QEMU counts instructions; each takes a nanosecond of the guest's time.
COUNTING = "-accel tcg,thread=single -icount shift=0,sleep=off"
TWO_CORES = "-accel tcg,thread=multi"
# Without instructions that copy by the byte (erms, fsrm): QEMU counts one instruction a byte.
CPU = "-cpu max,-avx,-avx2,-la57,-smap,-smep,-pku,-erms,-fsrm"
# Else the kernel fills each new page with zeros; IPVS's packets need new pages.
KERNEL_ARGUMENT = "init_on_alloc=0"


def kernel() -> str:
    """The guest's kernel release."""
    images = (TOP / ".vm/boot").glob("vmlinuz-*")
    return max((image.name.removeprefix("vmlinuz-") for image in images), default="")


def command(script: Path, words: Sequence[str], cores: int, accelerator: str) -> list[str]:
    """The command that boots the guest and runs a script there, with its tree's Python. Pure."""
    return [
        str(TOP / "tools/vm"),
        *("--smp", str(cores), "--memory", "3G", "--append", KERNEL_ARGUMENT),
        *("--qemu-opts", f"{accelerator} {CPU}", "--"),
        *("env", f"PYTHONPATH={script.parents[1]}", "python", str(script), *words),
    ]


def rows(command: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A command's rows. Its other lines are printed. Raises: ClickException if it failed."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("{"):
                yield json.loads(line)
            else:
                click.echo(line, nl=False)
    except BaseException:
        process.terminate()  # it ends the guest
        raise
    finally:
        process.wait()
    if process.returncode:
        raise click.ClickException(f"the guest ended with {process.returncode}")
