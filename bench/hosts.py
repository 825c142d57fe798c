# SPDX-License-Identifier: MIT
"""A lab of hosts for benches of the real commands: each has a network namespace and an instance."""

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

import click
from rig import FIRST_REAL, FIRST_VIP, Balanced

from xdplb import lab
from xdplb.director.instance import Instance
from xdplb.host import namespaces
from xdplb.lab import names

DIRECTOR, INTERFACE = "lvs", "ens33"
PREFIX = "xdplb-bench-"
COMMAND = Path(sys.executable).parent / "xdplb"


@contextlib.contextmanager
def lab_up() -> Iterator[str]:
    """A lab for this process. Yields: its name. Removes labs of benches that were killed."""
    for old in Path("/run/xdplb/lab").glob(f"{PREFIX}*"):
        if not Path("/proc", old.name.removeprefix(PREFIX)).exists():
            lab.down(old.name)
    name = f"{PREFIX}{os.getpid()}"
    lab.up(name)
    try:
        yield name
    finally:
        lab.down(name)


class Took(NamedTuple):
    """How long something took: wall-clock time and CPU time, in ms."""

    wall: float
    cpu: float


def children_now() -> Took:
    """The time, and the CPU time of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(1000 * time.perf_counter(), 1000 * (used.ru_utime + used.ru_stime))


class Shell:
    """Types the `xdplb` commands of a tree on the director of a lab."""

    def __init__(self, lab_name: str, tree: Path) -> None:
        self.namespace = names.host_namespace(lab_name, DIRECTOR)
        with namespaces.entered(self.namespace):
            self.instance = Instance()
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(tree),
            # Compiled modules are kept, as in an installation, but outside the trees.
            "PYTHONPYCACHEPREFIX": str(tree / ".pycache"),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        self._enter = lab.command(lab_name, DIRECTOR, [str(COMMAND)])

    def __call__(self, *words: str, stdin: str | None = None) -> Took:
        """Runs one command. Returns: the time of its process. Raises: ClickException if it fails.

        nsenter enters the namespace, which takes less than 2 ms of that time.
        """
        before = children_now()
        done = subprocess.run(
            [*self._enter, *words],
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
        )
        after = children_now()
        if done.returncode:
            raise click.ClickException(
                f"xdplb {' '.join(words)}: {done.stderr.strip() or done.returncode}"
            )
        return Took(after.wall - before.wall, after.cpu - before.cpu)


def endpoint(number: int) -> str:
    """VIP:PORT of service m of wrapper.c: each VIP has eight ports."""
    return f"{FIRST_VIP + (number >> 3)}:{80 + (number & 7)}"


def real(number: int) -> IPv4Address:
    """A real's address. The route to it is by the gateway."""
    return FIRST_REAL + number


def configuration(services: Sequence[Balanced]) -> str:
    """The text for `xdplb apply`. All services share the reals: each has the first ones of them."""
    lines = []
    for service in services:
        reals = ", ".join(f'"{real(i)}"' for i in range(service.reals))
        lines += [
            "[[service]]",
            f'tcp = "{endpoint(service.number)}"',
            f'scheduler = "{service.scheduler}"',
            f"reals = [{reals}]",
        ]
    return "\n".join(lines) + "\n"
