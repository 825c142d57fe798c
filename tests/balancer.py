# SPDX-License-Identifier: MIT
"""The real program and the real control plane, without interfaces' traffic, files or commands.

A `Balancer` is bpf/xdplb.c compiled once, in a network namespace of its own, pinned under a private
directory. Its services are put there by the director's own code (xdplb/director/), whose state is
kept in memory.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import packets
import pytest
from network import NEIGHBOURS, NETWORK, SYSCTLS, ip_batch

from xdplb.director import store
from xdplb.director.director import Director
from xdplb.director.routes import Routes
from xdplb.director.state import Attached, State, Wanted
from xdplb.director.table_writer import TableWriter
from xdplb.director.transaction import Transaction
from xdplb.host import namespaces, sysctls
from xdplb.kernel import libbpf, loader, program_cache, program_text
from xdplb.kernel.bpffs import BPFFS
from xdplb.kernel.byte_order import address_of_words
from xdplb.kernel.clock import Clock
from xdplb.kernel.flows import decode_flows
from xdplb.kernel.tables import Tables
from xdplb.model import checks, toml_file
from xdplb.model.address import parse_address
from xdplb.model.service import Service, ServiceKey
from xdplb.model.tunables import Tunables

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = range(5)

SMALL = Tunables(max_reals=4096, flow_buckets=1024, max_denied=64)
# A flow's record: tag | state (3 bits) | real (16) | tick (16); bpf/types.h, enum flow_state.
# A tick of minutes, where the state says seconds: no test begins in one and ends in another but by
# chance, however slow the machine; time passes by pass_ticks().
SLOW = Clock(hz=1 << 16)
TAG_SHIFT, STATE_SHIFT, REAL_SHIFT, TICK_MASK = 35, 32, 16, 0xFFFF

SYN, ACK = packets.syn(), packets.ack()
CLIENTS = "10.200.0.1"  # the first of many
Connections = dict[tuple[str, int], str | None]


def bpf_directory() -> Path:
    """The C program under test; to see tests fail, break a copy and name it in the environment."""
    return Path(os.environ.get("XDPLB_TEST_BPF_DIR", program_text.BPF_DIR)).resolve()


def require_root() -> None:
    """Skip on a person's machine, fail in CI."""
    if os.geteuid() != 0:
        reason = "loading BPF programs needs root; run: sudo make test"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


class OwnDirector(Director):
    """The director's verbs, on tables that are at hand and a state in a directory of its own."""

    def __init__(self, tables: Tables, directory: Path) -> None:
        super().__init__("test")
        self.tables = tables
        self.instance.run = directory
        self.instance.pins = directory / "none"

    @contextlib.contextmanager
    def opened(self) -> Iterator[Transaction]:
        state = store.read_state(self.instance)
        yield Transaction(self.instance, state, self.tables)


class Balancer:
    """One loaded program; `reset()` makes it new."""

    def __init__(
        self,
        tunables: Tunables,
        namespace: str,
        pins: Path,
        scratch: Path,
        flags: Sequence[str] = (),
        *,
        frags: bool = False,
    ) -> None:
        self.tunables = tunables
        self.namespace = namespace
        self.clock = SLOW
        program_text.BPF_DIR = bpf_directory()
        source = program_text.director(tunables, self.clock, *flags)
        self.program = loader.load(program_cache.compiled(source), pins, frags=frags)
        self.fd = self.program.fd
        self.tables = Tables(pins, self.program.tables)
        self.tables.put_programs(self.program.kinds)
        self.director = OwnDirector(self.tables, scratch)
        self.states = program_text.enum_values("flow_state")
        self._undo = contextlib.ExitStack()
        self._routes: dict[str, Any] = {}  # the director need not ask for them in each test
        self._network_changed = False
        self.ifindex = self.unused_ifindex = 0

    @classmethod
    @contextlib.contextmanager
    def loaded(
        cls, tunables: Tunables = SMALL, flags: Sequence[str] = (), *, frags: bool = False
    ) -> Iterator["Balancer"]:
        """Compile and load it in a network of its own, and leave nothing behind.

        flags: more of them for the compiler. frags: it takes jumbo frames.
        """
        require_root()
        name = f"xdplb-test-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        pins = BPFFS / name
        with contextlib.ExitStack() as undo:
            namespaces.create(name)
            undo.callback(namespaces.remove, name)
            pins.mkdir(mode=0o700)
            undo.callback(shutil.rmtree, pins)
            with namespaces.entered(name):
                for path, value in SYSCTLS.items():
                    sysctls.write(path, value)
                ip_batch(NETWORK + NEIGHBOURS)
                scratch = undo.enter_context(tempfile.TemporaryDirectory(prefix=name))
                lb = cls(tunables, name, pins, Path(scratch), flags, frags=frags)
                undo.callback(lb.tables.close)
                undo.callback(lb.program.close)
                lb.ifindex = socket.if_nametoindex("ens33")
                lb.unused_ifindex = socket.if_nametoindex("unused")
                # Attached anywhere, a program keeps its place in the kernel's XDP dispatcher;
                # else each run of it patches the kernel's text twice, which takes 20 ms.
                spare = socket.if_nametoindex("spare")
                link = libbpf.link_create(lb.fd, spare, libbpf.XDP_FLAGS_SKB_MODE)
                undo.callback(os.close, link)
            yield lb

    @contextlib.contextmanager
    def test(self) -> Iterator["Balancer"]:
        """What one test has: the program's network, and empty tables."""
        with namespaces.entered(self.namespace), self._undo:
            self.reset()
            yield self

    def reset(self) -> None:
        """Empty all tables. Rings stay: nobody finds them, and a new service's is made anew."""
        tables = self.tables
        for name in ("director", "reals", "flows", "cpus", "sources", "fragments", "paths"):
            memory = getattr(tables, name).memory
            ctypes.memset(ctypes.addressof(memory), 0, ctypes.sizeof(memory))
        tables.put_vlans({})
        for key in libbpf.map_keys(tables.denied.fd, ctypes.sizeof(tables.denied.key)):
            libbpf.map_delete(tables.denied.fd, tables.denied.key.from_buffer_copy(key))
        if self._network_changed:
            self._routes, self._network_changed = {}, False
        state = State(Wanted(tunables=self.tunables), routes=Routes())
        state.routes.update(self._routes)
        state.attached = Attached("test", "test", self.clock.hz, {}, {}, {"ens33": "native"})
        store.write_state(self.director.instance, state)
        TableWriter(tables, state).config()
        self._before = tables.counters.sum_cpus(0)

    # ---- its network -------------------------------------------------------------------------

    def ip(self, line: str, undo: str = "") -> None:
        """Change the network by an `ip` command, and take it back after the test by another.

        Neighbours are put back by themselves. What the director learned of it is forgotten then.
        """
        self._undo.callback(ip_batch, f"{undo}\n{NEIGHBOURS}")
        subprocess.run(["ip", *line.split()], check=True)
        self._network_changed = True

    @property
    def state(self) -> State:
        """What the director wants. To change it behind its back: `rewriting_state()`."""
        return store.read_state(self.director.instance)

    @contextlib.contextmanager
    def rewriting_state(self) -> Iterator[State]:
        """Let a test change what the director remembers."""
        state = self.state
        yield state
        store.write_state(self.director.instance, state)

    # ---- services: the director's own verbs --------------------------------------------------

    def add_service(
        self,
        endpoint: str = f"{packets.VIP}:{packets.DPORT}",
        reals: Sequence[str] = (packets.RIP,),
        scheduler: str = "mh",
        *,
        flags: Sequence[str] = (),
        udp: bool = False,
        one_packet: bool = False,
        **more: Any,
    ) -> ServiceKey:
        """Add a service; reals as in a configuration file: `192.168.0.7 weight=3`."""
        key = ServiceKey.parse(f"{'udp' if udp else 'tcp'}/{endpoint}")
        service = Service(
            key,
            scheduler,
            frozenset(flags),
            one_packet,
            tuple(map(toml_file.parse_real, reals)),
            **more,
        )
        self.put_services([service])
        return key

    def put_services(self, services: Sequence[Service]) -> None:
        """Add or change services in one change."""
        with self.director.changing() as state:
            for service in services:
                checks.check_service(service)
                state.put_service(service)
        self._routes |= dict(state.routes)

    @property
    def key(self) -> ServiceKey:
        """The only service, or the one added last."""
        return list(self.state.wanted.services)[-1]

    def service(self, key: ServiceKey | None = None) -> Service:
        """The service as it is wanted now."""
        return self.state.wanted.services[key or self.key]

    def add_real(self, address: str, weight: int = 1, key: ServiceKey | None = None) -> None:
        """Add a real."""
        self.director.add_real(key or self.key, parse_address(address), weight)

    def set_weight(self, address: str, weight: int, key: ServiceKey | None = None) -> None:
        """Weigh a real anew; 0 drains it."""
        self.director.edit_real(key or self.key, parse_address(address), weight)

    def remove_real(self, address: str, key: ServiceKey | None = None) -> None:
        """Remove a real."""
        self.director.remove_real(key or self.key, parse_address(address))

    def remove_service(self, key: ServiceKey | None = None) -> None:
        """Remove a service."""
        self.director.remove_service(key or self.key)

    def edit_service(self, **changes: Any) -> None:
        """Change fields of a service."""
        self.director.edit_service(self.key, **changes)

    def attach_vip(self, vip: str) -> None:
        """A VIP without a service, as `attach --vip` leaves it."""
        with self.rewriting_state() as state:
            state.wanted.vips[parse_address(vip)] = ""
            TableWriter(self.tables, state).all()

    def set_timeouts(self, **seconds: int) -> None:
        """Set idle times: tcp, tcpfin, udp."""
        self.director.set_timeouts(**seconds)

    # ---- packets -----------------------------------------------------------------------------

    def send(self, frame: bytes, *, ifname: str = "") -> tuple[int, bytes]:
        """Run the program on a frame from ens33 (or another interface): its action and frame."""
        ifindex = socket.if_nametoindex(ifname) if ifname else self.ifindex
        run = libbpf.prog_test_run(self.fd, frame, ifindex=ifindex)
        return run.action, run.frame

    def real_of(self, frame: bytes) -> str | None:
        """The real that a frame is sent to, by its outer header; None if it is not forwarded."""
        action, out = self.send(frame)
        return packets.outer_dst(out) if action in (XDP_TX, XDP_REDIRECT) else None

    def establish(self, src: str = packets.CIP, sport: int = packets.SPORT) -> str | None:
        """A SYN and an ACK of a TCP connection. Returns: its real."""
        real = self.real_of(packets.from_client(SYN, src, sport))
        assert real == self.follow(src, sport)
        return real

    def follow(self, src: str = packets.CIP, sport: int = packets.SPORT) -> str | None:
        """An ACK of a TCP connection. Returns: its real."""
        return self.real_of(packets.from_client(ACK, src, sport))

    def connect(self, clients: int = 100, first: str = CLIENTS) -> Connections:
        """Establish connections from many clients. Returns: their reals."""
        start = parse_address(first)
        pairs = ((str(start + number), packets.SPORT + number) for number in range(clients))
        return {(src, sport): self.establish(src, sport) for src, sport in pairs}

    def moved(self, connections: Connections) -> Connections:
        """Send an ACK on each. Returns: those that another real (or none) has got now."""
        now = {client: self.follow(*client) for client in connections}
        return {client: real for client, real in now.items() if real != connections[client]}

    @property
    def counted(self) -> dict[str, int]:
        """Exactly the counters that moved since the last look."""
        now = self.tables.counters.sum_cpus(0)
        moved = {name: n - self._before[name] for name, n in now.items() if n != self._before[name]}
        self._before = now
        return moved

    def index(self, real: str, key: ServiceKey | None = None) -> int:
        """A real's place in the tables."""
        state, key = self.state, key or self.key
        return state.allocated.indices(key)[state.wanted.services.addresses(key).index(real)]

    def stats(self, real: str, key: ServiceKey | None = None) -> dict[str, int]:
        """What was counted of a real."""
        return self.tables.real_stats.sum_cpus(self.index(real, key))

    # ---- flows and time ----------------------------------------------------------------------

    @property
    def words(self) -> Any:
        """The flow table, live: shape (buckets, ways)."""
        return np.frombuffer(self.tables.flows.memory, np.uint64).reshape(len(self), -1)

    def __len__(self) -> int:
        return int(self.tables.flows.entries)

    @property
    def flows(self) -> list[tuple[str, str]]:
        """All live records: (state, real), sorted."""
        names = {number: name.removeprefix("FLOW_") for name, number in self.states.items()}
        records = decode_flows(self.tables, self.clock)
        return sorted((names[r["state"]], self.address(r["real"])) for r in records)

    def address(self, index: int) -> str:
        """A real's address by its place."""
        words = self.tables.reals[index].address
        return str(address_of_words(words.high, words.low))

    def make_record(self, tag: int, state: str, real: int, age_ticks: int) -> int:
        """A record as bpf/flow.h makes it."""
        tick = (self.tick - age_ticks) & TICK_MASK
        number = self.states[f"FLOW_{state}"]
        return tag << TAG_SHIFT | number << STATE_SHIFT | real << REAL_SHIFT | tick

    @property
    def tick(self) -> int:
        """The program's clock."""
        return self.clock.now()

    def timeout(self, state: str) -> int:
        """A record's life, in ticks."""
        return int(self.tables.director[0].config.timeout[self.states[f"FLOW_{state}"]])

    def pass_ticks(self, ticks: int) -> None:
        """Make all records older, and let transitions come nearer to their end."""
        for name in ("flows", "fragments", "paths"):
            words = np.frombuffer(getattr(self.tables, name).memory, np.uint64)
            old = words[used := words != 0]
            low = (old - np.uint64(ticks % (TICK_MASK + 1))) & np.uint64(TICK_MASK)
            words[used] = old & ~np.uint64(TICK_MASK) | low
        with self.rewriting_state() as state:
            for moving in state.transitions.values():
                moving.until = max(1, moving.until - round(ticks * self.clock.tick_s))

    def pass_time(self, seconds: float) -> None:
        """As pass_ticks(), by seconds."""
        self.pass_ticks(round(seconds / self.clock.tick_s))

    def look_at_transitions(self) -> list[ServiceKey]:
        """End transitions that can end, as the next command or the agent does."""
        with self.rewriting_state() as state:
            return TableWriter(self.tables, state).rings.end_due()

    def end_transitions(self) -> list[ServiceKey]:
        """The same, with their time up."""
        with self.rewriting_state() as state:
            for moving in state.transitions.values():
                moving.until = 1
        return self.look_at_transitions()

    def ring(self, key: ServiceKey | None = None) -> Any:
        """A service's ring: numpy array of struct slot."""
        live = self.tables.read_ring(self.state.allocated.id_of(key or self.key))
        return np.frombuffer(live, np.dtype(self.tables.ring.leaf))

    def expire_hop(self, real: str) -> None:
        """Let the real's next hop be older than a tick."""
        self.tables.reals[self.index(real)].refreshed = 0
