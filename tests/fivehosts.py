# SPDX-License-Identifier: MIT
"""Labs for the tests: each has five hosts, in network namespaces with their own names."""

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from xdplb import lab as labs
from xdplb.director.instance import Instance
from xdplb.host import namespaces

XDPLB = str(Path(sys.executable).with_name("xdplb"))
RS1, RS2 = "192.168.2.220", "192.168.2.210"
# Tables of these sizes are compiled and filled faster. The program's instructions are the same.
SMALL = {"max_vips": 64, "max_services": 64, "max_reals": 4096, "flow_buckets": 4096}


@dataclass(frozen=True)
class Lab:
    """One test's lab, by its name."""

    name: str

    def run(
        self, host: str, *argv: str, check: bool = True, timeout_s: float = 600
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on a host; see `xdplb.lab.run`. In tests/vm one may take a minute."""
        return labs.run(self.name, host, argv, check=check, timeout_s=timeout_s)

    def output(self, host: str, *argv: str) -> str:
        """Run a command on a host and give what it printed."""
        return self.run(host, *argv).stdout

    def value(self, host: str, *argv: str) -> Any:
        """Run a command on a host and give the JSON value that it printed."""
        return json.loads(self.output(host, *argv))

    def start(self, host: str, argv: Sequence[str]) -> "subprocess.Popen[str]":
        """Start a command on a host; the test ends it."""
        return subprocess.Popen(
            labs.command(self.name, host, argv),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start_web(self) -> None:
        """Start nginx on rs1 and rs2."""
        labs.start_web(self.name)

    def xdplb(self, *argv: str, host: str = "lvs") -> str:
        """Run `xdplb` on a host, by default the director, and give what it printed."""
        return self.output(host, XDPLB, *argv)

    def try_xdplb(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """Run `xdplb` on the director. It may fail."""
        return self.run("lvs", XDPLB, *argv, check=False)

    def json(self, *argv: str) -> Any:
        """Run `xdplb … --json` on the director and give the value that it printed."""
        return json.loads(self.xdplb(*argv, "--json"))

    def attach(self, *ifnames: str, vips: Sequence[str] = (labs.VIP,), **tunables: int) -> str:
        """Attach the director with small tables, by default to ens33, with the VIP."""
        sizes = [f"--tune={name}={value}" for name, value in {**SMALL, **tunables}.items()]
        names = [f"--vip={vip}" for vip in vips]
        return self.xdplb("attach", *(ifnames or ["ens33"]), *names, *sizes)

    def apply(self, configuration: str) -> str:
        """Apply a configuration, in TOML."""
        file = Path("/run/xdplb/lab", self.name, "configuration.toml")
        file.write_text(configuration)
        return self.xdplb("apply", str(file))

    def balance(
        self,
        scheduler: str = "rr",
        reals: Sequence[str] = (RS1, RS2),
        service: str = f'tcp = "{labs.VIP}:80"',
        more: str = "",
    ) -> None:
        """Make this the only service, by one command. (A user would type four.)"""
        self.apply(
            f"[[service]]\n{service}\nscheduler = '{scheduler}'\nreals = {list(reals)}\n{more}"
        )

    def fetch(self, times: int = 1, url: str = f"http://{labs.VIP}/") -> list[str]:
        """Fetch a page on the client, each time by a new connection. Returns: the pages' texts."""
        curl = ["curl", "-sS", "-m", "5", url]
        return [self.output("client", *curl).strip() for _ in range(times)]

    def counters(self) -> dict[str, int]:
        """The counters that are not 0, without pass_not_ip (ARP and the like)."""
        counters = self.json("status")["counters"]
        return {name: n for name, n in counters.items() if n and name != "pass_not_ip"}

    @property
    def instance(self) -> Instance:
        """The director's instance."""
        with namespaces.entered(f"{self.name}-lvs"):
            return Instance()

    @property
    def state(self) -> Path:
        """The director's files."""
        return self.instance.run

    @property
    def pins(self) -> Path:
        """What the director has pinned."""
        return self.instance.pins


def require_root() -> None:
    """Skip on a person's machine, fail in CI."""
    if os.geteuid() != 0:
        reason = "network namespaces need root; run: sudo make test"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@contextlib.contextmanager
def served() -> Iterator[Lab]:
    """The reference case without a director: web servers and real servers are set up."""
    require_root()
    name = f"t{uuid.uuid4().hex[:8]}"
    try:
        labs.up(name)
        lab = Lab(name)
        lab.start_web()
        for host in ("rs1", "rs2"):
            lab.xdplb("realserver", "setup", "--vip", labs.VIP, host=host)
        yield lab
    finally:
        labs.down(name)
