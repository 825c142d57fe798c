# SPDX-License-Identifier: MIT
"""What the measurements share: a network namespace, directors, packets and the clock.

A packet's cost is the time of wrapper → target less that of wrapper → `bounce` (see wrapper.c),
both from one round of alternating runs. Time is the thread's CPU time: what other processes take
from this core meanwhile does not count; what they do to its caches, and to the core's other thread,
does. So there is a second figure beside the median: `quiet`, the difference of the fastest tenths.

The bias that remains: the target works on a frame 20 bytes longer, so the wrapper moves the head by
20 bytes before it and by 0 before `bounce`, which is the same code. The wrapper's tail call is an
indirect jump (a retpoline where the kernel needs one), so little of its work overlaps the target's.
"""

import contextlib
import ctypes
import datetime
import json
import os
import platform
import random
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from xdplb.dataplane import libbpf, loader
from xdplb.dataplane.tables import Tables, decode_type, fill, map_memory

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BPFFS = Path("/sys/fs/bpf")

CLONE_NEWNET = 0x40000000
DIP = IPv4Address("192.168.2.200")
GATEWAY = "192.168.2.1"
GATEWAY_MAC, DIP_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
FIRST_REAL = IPv4Address("10.1.0.1")
FIRST_VIP = IPv4Address("10.2.0.0")
FIRST_CLIENT = IPv4Address("48.0.0.0")

SYN, ACK = 0x02, 0x10
BOUNCE, PREPEND, FIRST_TARGET = 0, 1, 2  # places in the wrapper's table of targets


class Order(IntEnum):
    """How the wrapper numbers flows; the members are those of `enum order` in wrapper.c."""

    FIXED = 0
    SEQUENTIAL = 1
    RANDOM = 2


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
    ):
        subprocess.run(["ip", *line.split()], check=True)
    # The program asks the FIB as from the loopback interface: see bpf/nexthop.h.
    Path("/proc/sys/net/ipv4/conf/lo/forwarding").write_text("1")


@contextlib.contextmanager
def pins(label: str) -> Iterator[Path]:
    """A private pin directory. Those of benches that were killed go."""
    for old in BPFFS.glob("xdplb-bench-*"):
        if not Path("/proc", old.name.split("-")[2]).exists():
            shutil.rmtree(old, ignore_errors=True)
    place = BPFFS / f"xdplb-bench-{os.getpid()}-{label}"
    place.mkdir(mode=0o700)
    try:
        yield place
    finally:
        shutil.rmtree(place)


class Unbuildable(Exception):
    """A tree's program does not load; what failed is on stderr."""


@contextlib.contextmanager
def snapshot(text: str) -> Iterator[Path]:
    """A copy of a tree, so that who edits it meanwhile may.

    text: a tree's directory; a directory of C files, to go with this tree's Python; or a git
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
    """A service to measure, number m of wrapper.c, with reals of its own."""

    number: int
    scheduler: str
    reals: int

    def key(self) -> str:
        """Its name, as xdplb.model.ServiceKey reads it."""
        return f"tcp/{FIRST_VIP + (self.number >> 3)}:{80 + (self.number & 7)}"


class Director:
    """The program of one tree, loaded, with its tables filled by that tree's bench/build.py."""

    def __init__(
        self, tree: Path, pin_dir: Path, services: Sequence[Balanced], **tunables: int
    ) -> None:
        described = []
        address = FIRST_REAL
        for service in services:
            reals = [str(address + i) for i in range(service.reals)]
            address += service.reals
            described.append({"key": service.key(), "scheduler": service.scheduler, "reals": reals})
        specification = {"tunables": tunables, "source": str(DIP), "services": described}
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
        """Gives program and tables back, once they are unpinned."""
        self.tables.close()
        os.close(self.fd)

    @property
    def counted(self) -> dict[str, int]:
        """The counters."""
        return self.tables.counters.sum_cpus(0)


@dataclass(frozen=True)
class Stream:
    """The packets of a measurement. `flows` 0: 2^32 of them."""

    order: Order
    flows: int = 1
    flags: int = ACK
    first_service: int = 0
    services: int = 1

    def frame(self) -> bytes:
        """The packet of flow 0: Ethernet, IPv4 with DF, TCP without data."""
        vip = FIRST_VIP + (self.first_service >> 3)
        port = 80 + (self.first_service & 7)
        ip = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, FIRST_CLIENT.packed, vip.packed
        )
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        tcp = struct.pack("!HHIIBBHHH", 0x8000, port, 1, 1, 0x50, self.flags, 65535, 0, 0)
        return DIP_MAC + GATEWAY_MAC + b"\x08\x00" + ip + tcp


def checksum(data: bytes) -> int:
    """RFC 1071. Units: host order."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def wrapped(frame: bytes, real: IPv4Address) -> bytes:
    """What the director must make of a frame of `Stream`."""
    inner = bytearray(frame[14:])
    inner[8] -= 1
    inner[10:12] = bytes(2)
    inner[10:12] = checksum(bytes(inner[:20])).to_bytes(2, "big")
    ip = struct.pack("!BBHHHBBH", 0x45, 0, len(inner) + 20, 0, 0x4000, 63, 4, 0)
    ip += DIP.packed + real.packed
    ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
    return GATEWAY_MAC + DIP_MAC + b"\x08\x00" + ip + bytes(inner)


class Wrapper:
    """The loaded wrapper.c, and what it can call."""

    def __init__(self) -> None:
        self.ifindex = socket.if_nametoindex("bench0")
        outer = wrapped(Stream(Order.FIXED).frame(), FIRST_REAL)
        check = int.from_bytes(outer[24:26], "big")
        self._program = loader.compile_program(
            "wrapper.c", "wrap", [f"-DOUTER_CHECK={check}"], HERE
        )
        module = self._program.module
        # Attached anywhere, it keeps its place in the XDP dispatcher: else each run would rewrite
        # the kernel's text twice, 20 ms. This interface is down.
        self._link = libbpf.link_create(
            self._program.fd, socket.if_nametoindex("bench2"), libbpf.XDP_FLAGS_SKB_MODE
        )
        self._targets_fd = module["targets"].map_fd
        leaf = decode_type(self._program.tables["plans"]["leaf"])
        self._plan = map_memory(module["plans"].map_fd, leaf, 1)[0]
        self._own = [module.load_func(name, module.XDP) for name in ("bounce", "prepend")]
        for place, function in enumerate(self._own):
            self.set_target(place, function.fd)
        got = libbpf.prog_test_run(self._own[PREPEND].fd, Stream(Order.FIXED).frame())
        assert got.frame[:34] == outer[:34], "the floor writes a wrong header"

    def set_target(self, place: int, fd: int) -> None:
        """Makes a program callable under a number."""
        libbpf.map_update(self._targets_fd, ctypes.c_uint32(place), ctypes.c_uint32(fd))

    def run(self, target: int, stream: Stream, packets: int, state: int = 0) -> float:
        """Sends packets through a target. Returns: ns per packet, the wrapper's own among them."""
        frame = stream.frame()
        fill(
            self._plan,
            ttl_word=int.from_bytes(frame[22:26], "little"),
            length=len(frame),
            target=target,
            order=stream.order,
            flows=stream.flows,
            services=stream.services,
            first_service=stream.first_service,
            state=state,
        )
        self._plan.link[:] = struct.unpack("<QQ", frame[:16])
        before = time.thread_time_ns()
        libbpf.prog_test_run(self._program.fd, frame, ifindex=self.ifindex, repeat=packets)
        return (time.thread_time_ns() - before) / packets

    def close(self) -> None:
        """Gives it back."""
        os.close(self._link)
        self._program.module.cleanup()

    def state(self) -> int:
        """Where the stream stands: give it to the next run to go on."""
        return int(self._plan.state)


@dataclass(frozen=True)
class Measured:
    """A target's cost over all rounds, and the floor's; ns per packet, the wrapper's taken off."""

    ns: list[float]
    floor: list[float]
    wrapper: list[float]

    def quiet(self, values: list[float]) -> float:
        """What it costs while the machine has nothing else to do."""
        both = [value + alone for value, alone in zip(values, self.wrapper, strict=True)]
        return _fast(both) - _fast(self.wrapper)

    def row(self) -> dict[str, Any]:
        """Medians and quartiles, as the results hold them."""
        ns, floor = statistics.median(self.ns), statistics.median(self.floor)
        quiet, quiet_floor = self.quiet(self.ns), self.quiet(self.floor)
        return {
            "ns": round(ns, 2),
            "floor_ns": round(floor, 2),
            "ratio": round(ns / floor, 3),
            "ns_quartiles": _quartiles(self.ns),
            "floor_quartiles": _quartiles(self.floor),
            "quiet_ns": round(quiet, 2),
            "quiet_floor_ns": round(quiet_floor, 2),
            "quiet_ratio": round(quiet / quiet_floor, 3),
            "wrapper_ns": round(statistics.median(self.wrapper), 2),
            "rounds": len(self.ns),
        }


def difference(lives: Sequence[tuple[Measured, Measured]]) -> list[float]:
    """How much more the first costs in each life: the median over its rounds. In order of size."""
    return sorted(float(np.median(np.subtract(mine.ns, other.ns))) for mine, other in lives)


def pooled(lives: Sequence[Measured]) -> Measured:
    """The rounds of all lives as one."""
    return Measured(
        list(chain.from_iterable(life.ns for life in lives)),
        list(chain.from_iterable(life.floor for life in lives)),
        list(chain.from_iterable(life.wrapper for life in lives)),
    )


def _fast(values: Sequence[float]) -> float:
    return float(np.percentile(values, 10))


def _quartiles(values: Sequence[float]) -> list[float]:
    if len(values) < 2:
        return [round(values[0], 2)] * 2
    low, _, high = statistics.quantiles(values, n=4)
    return [round(low, 2), round(high, 2)]


def measure(
    wrapper: Wrapper,
    targets: Sequence[int],
    stream: Stream,
    *,
    rounds: int,
    packets: int,
) -> list[Measured]:
    """Times all targets, the floor and the wrapper alone, alternating in random order."""
    everyone = [BOUNCE, PREPEND, *targets]
    states = dict.fromkeys(everyone, 1)
    times: dict[int, list[float]] = {target: [] for target in everyone}
    for _ in range(rounds):
        for target in random.sample(everyone, len(everyone)):
            times[target].append(wrapper.run(target, stream, packets, states[target]))
            states[target] = wrapper.state()
    alone = times[BOUNCE]

    def net(target: int) -> list[float]:
        return [mine - none for mine, none in zip(times[target], alone, strict=True)]

    return [Measured(net(target), net(PREPEND), alone) for target in targets]


def machine() -> dict[str, Any]:
    """Where and of what these figures are."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in cpus if line.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "load": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """The commit of this tree; with + if the C program differs from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", str(HERE.parent / "bpf"))
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
