# SPDX-License-Identifier: MIT
"""Labs for the tests: five hosts each, in network namespaces with names of their own."""

import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from xdplb import lab as labs


@dataclass(frozen=True)
class Lab:
    """One test's lab, by its name."""

    name: str

    def run(
        self, host: str, *argv: str, check: bool = True, timeout_s: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on a host; see `xdplb.lab.run`."""
        return labs.run(self.name, host, argv, check=check, timeout_s=timeout_s)

    def output(self, host: str, *argv: str) -> str:
        """Run a command on a host and give what it printed."""
        return self.run(host, *argv).stdout

    def start(self, host: str, argv: Sequence[str]) -> "subprocess.Popen[str]":
        """Start a command on a host; the test ends it."""
        return subprocess.Popen(
            labs.command(self.name, host, argv),
            env=labs.environment(self.name, host),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start_web(self) -> None:
        """Start nginx on rs1 and rs2."""
        labs.start_web(self.name)


def require_root() -> None:
    """Skip on a person's machine, fail in CI."""
    if os.geteuid() != 0:
        reason = "network namespaces need root; run: sudo make test"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A name that no other lab has; whatever a test builds under it is removed."""
    require_root()
    name = f"t{uuid.uuid4().hex[:8]}"
    yield name
    labs.down(name)


@pytest.fixture
def lab(lab_name: str) -> Lab:
    """The reference case's five hosts, without web servers."""
    labs.up(lab_name)
    return Lab(lab_name)
