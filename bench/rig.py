# SPDX-License-Identifier: MIT
"""Shared by the measurements: a network namespace, trees to measure, their directors."""

import contextlib
import ctypes
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import click

from xdplb.kernel import libbpf
from xdplb.kernel.bpffs import BPFFS
from xdplb.kernel.tables import Tables

HERE = Path(__file__).parent
RESULTS = HERE / "results"

CLONE_NEWNET = 0x40000000
DIP, DIP6 = IPv4Address("192.168.2.200"), IPv6Address("fd00:2::200")
GATEWAY, GATEWAY6 = "192.168.2.1", "fd00:2::1"
GATEWAY_MAC, DIP_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
FIRST_REAL, FIRST_REAL6 = IPv4Address("10.1.0.1"), IPv6Address("fd00:10::1")
FIRST_VIP, VIP6 = IPv4Address("10.2.0.0"), IPv6Address("fd00:3::80")
FIRST_CLIENT, FIRST_CLIENT6 = IPv4Address("48.0.0.0"), IPv6Address("fd00:1::3000:0")

PROGRAM_HELP = "What to measure: a tree, a directory of C files, or a git revision. [this tree]"


def enter_namespace() -> None:
    """Moves this process to a network namespace of its own, where each real has a next hop."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    for line in (
        "link set lo up",
        f"link add bench0 address {DIP_MAC.hex(':')} type veth peer name bench1",
        "link set bench0 up",
        "link set bench1 up",
        "link add bench2 type veth peer name bench3",
        f"address add {DIP}/24 dev bench0",
        f"neigh add {GATEWAY} lladdr {GATEWAY_MAC.hex(':')} nud permanent dev bench0",
        f"route add default via {GATEWAY}",
        f"-6 address add {DIP6}/64 dev bench0 nodad",
        f"-6 neigh add {GATEWAY6} lladdr {GATEWAY_MAC.hex(':')} nud permanent dev bench0",
        f"-6 route add default via {GATEWAY6}",
    ):
        subprocess.run(["ip", *line.split()], check=True)
    # The program asks the FIB as from the loopback interface: see bpf/nexthop.h.
    for family in ("ipv4", "ipv6"):
        Path(f"/proc/sys/net/{family}/conf/lo/forwarding").write_text("1")


@contextlib.contextmanager
def pins(label: str) -> Iterator[Path]:
    """A private pin directory. Removes those of benches that were killed."""
    for old in BPFFS.glob("xdplb-bench-*"):
        if not Path("/proc", old.name.split("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    place = BPFFS / f"xdplb-bench-{os.getpid()}-{label}"
    place.mkdir(mode=0o700)
    try:
        yield place
    finally:
        shutil.rmtree(place)


class Unbuildable(click.ClickException):
    """A tree's program does not load. stderr has the reason."""


@contextlib.contextmanager
def snapshot(text: str) -> Iterator[Path]:
    """A copy of a tree, so that the tree may be edited meanwhile.

    text: a tree's directory; a directory of C files, used with this tree's Python; or a git
    revision. Raises: Unbuildable if it is none of these.
    """
    own = HERE.parent
    with tempfile.TemporaryDirectory(prefix="xdplb-bench-") as scratch:
        tree, named = Path(scratch), Path(text)
        if named.is_dir():
            root = own if (named / "xdplb.c").exists() else named
            for part in ("bpf", "xdplb", "bench"):
                shutil.copytree(root / part, tree / part)
            if root is own:
                shutil.rmtree(tree / "bpf")
                shutil.copytree(named, tree / "bpf")
        else:
            command = ["git", "-C", str(own), "archive", text, "bpf", "xdplb", "bench"]
            archive = subprocess.run(command, capture_output=True)
            if archive.returncode:
                raise Unbuildable(f"'{text}' is neither a directory nor a git revision")
            subprocess.run(["tar", "-x", "-C", scratch], input=archive.stdout, check=True)
        if not (tree / "bench/build.py").exists():
            shutil.copy(HERE / "build.py", tree / "bench")
        yield tree


@dataclass(frozen=True)
class Balanced:
    """A service to measure, number m of wrapper.c, with its own reals.

    family: the VIP's version of IP; outer: the reals'; tunnel: as text for Tunnel.parse().
    """

    number: int
    scheduler: str
    reals: int
    family: int = 4
    outer: int = 4
    tunnel: str = "ipip"

    @property
    def plain(self) -> bool:
        """Whether it is IPIP over IPv4, which every tree's program supports."""
        return (self.family, self.outer, self.tunnel) == (4, 4, "ipip")

    def key(self) -> str:
        """Its name, as text for ServiceKey.parse()."""
        vip, port = VIP6 if self.family == 6 else FIRST_VIP + (self.number >> 3), self.number & 7
        return f"tcp/[{vip}]:{80 + port}" if self.family == 6 else f"tcp/{vip}:{80 + port}"

    def addresses(self, before: int) -> list[str]:
        """The addresses of its reals; other services have the `before` addresses before them."""
        first = FIRST_REAL6 if self.outer == 6 else FIRST_REAL
        return [str(first + before + i) for i in range(self.reals)]


def knows_tunnels(tree: Path) -> bool:
    """Whether a tree's bench/build.py supports more than IPIP over IPv4."""
    return '"tunnel"' in (tree / "bench/build.py").read_text()


class Director:
    """The loaded program of one tree. That tree's bench/build.py has filled its tables.

    services: the wanted services that the tree supports, by number.
    """

    def __init__(
        self, tree: Path, pin_dir: Path, services: Sequence[Balanced], **tunables: int
    ) -> None:
        all_of_them = knows_tunnels(tree)
        self.services = {s.number: s for s in services if all_of_them or s.plain}
        described, before = [], 0
        for service in self.services.values():
            described.append(
                {
                    "key": service.key(),
                    "scheduler": service.scheduler,
                    "reals": service.addresses(before),
                    "tunnel": service.tunnel,
                }
            )
            before += service.reals
        specification = {
            "tunables": tunables,
            "source": str(DIP),
            "source_v6": str(DIP6),
            "services": described,
        }
        built = subprocess.run(
            [sys.executable, tree / "bench/build.py", pin_dir],
            input=json.dumps(specification),
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdout=subprocess.PIPE,
            text=True,
        )
        if built.returncode:
            raise Unbuildable(f"the program of {tree} cannot be loaded, or its tables not filled")
        self.tables = Tables(pin_dir, json.loads(built.stdout))
        self.fd = libbpf.obj_get(pin_dir / "program")

    def forget_flows(self) -> None:
        """Empties the flow table."""
        memory = self.tables.flows.memory
        ctypes.memset(ctypes.addressof(memory), 0, ctypes.sizeof(memory))

    def close(self) -> None:
        """Closes program and tables. The kernel frees them when they are unpinned too."""
        self.tables.close()
        os.close(self.fd)

    @property
    def counted(self) -> dict[str, int]:
        """The counters."""
        return self.tables.counters.sum_cpus(0)


def directors(
    stack: contextlib.ExitStack, trees: Sequence[Path], services: Sequence[Balanced]
) -> list[Director]:
    """A director for each tree, until the stack is unwound."""
    made = []
    for label, tree in enumerate(trees):
        director = Director(tree, stack.enter_context(pins(str(label))), services)
        made.append(stack.enter_context(contextlib.closing(director)))
    return made


def machine(program_dir: str) -> dict[str, Any]:
    """The machine, the date and the commit of the figures."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in cpus if line.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(program_dir),
        "load": round(os.getloadavg()[0], 2),
    }


def commit(program_dir: str) -> str:
    """The commit that was measured, with + if bpf/ has other changes."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)
        return done.stdout.strip()

    if not Path(program_dir).is_dir():
        return git("rev-parse", "--short", program_dir) or program_dir
    if Path(program_dir).resolve() != HERE.parent:
        return program_dir
    changed = git("status", "--porcelain", "--", str(HERE.parent / "bpf"))
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
