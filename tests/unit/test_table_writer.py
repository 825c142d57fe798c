# SPDX-License-Identifier: MIT
"""The tables follow the state, and whoever reads them meanwhile finds a working director."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faketables import CLOCK, TINY, FakeTables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xdplb.director import pruning, ring_transition, rings, state_file, table_writer
from xdplb.director.allocation import NOBODY
from xdplb.director.state import Attached, State, Wanted
from xdplb.director.table_writer import TableWriter
from xdplb.errors import TableFull
from xdplb.kernel import clock, service_tables
from xdplb.kernel.program_text import enum_values
from xdplb.model.address import parse_address, parse_prefix
from xdplb.model.configuration import Timeouts
from xdplb.model.network import Route
from xdplb.model.schedulers import SCHEDULERS
from xdplb.model.service import Protocol, Real, Service, ServiceKey

WAY = Route("eth0", "", "192.0.2.1", False)
BY_PICK = enum_values("slot_previous")["PREVIOUS_BY_PICK"]
RECORDED = enum_values("slot_flag")["SLOT_RECORDED"]
POOL = [parse_address(f"198.51.100.{n}") for n in range(1, 6)]
TRACED = {module.__file__ for module in (table_writer, rings, pruning, service_tables)}


def key(port: int = 80, vip: str = "192.0.2.100") -> ServiceKey:
    return ServiceKey(Protocol.TCP, parse_address(vip), port)


def service(scheduler: str = "rr", *weights: int, port: int = 80) -> Service:
    """One with a real of the pool for each weight."""
    reals = tuple(Real(address, w, w or 1) for address, w in zip(POOL, weights, strict=False))
    return Service(key(port), scheduler, reals=reals)


def new_state() -> State:
    """A state of an attached director with tiny tables."""
    state = State(Wanted(tunables=TINY))
    state.attached = Attached("tiny", "programs_1", CLOCK.hz, {}, {}, {"eth0": "native"})
    return state


class Side:
    """A director's state and tables, changed as one command after another does."""

    def __init__(self) -> None:
        self.tables = FakeTables()
        self.state = new_state()
        TableWriter(self.tables, self.state).config()

    @contextlib.contextmanager
    def command(self) -> Iterator[State]:
        """Read the state, edit it in the block, let the tables follow, write it."""
        state = state_file.decode(state_file.encode(self.state), "test")
        yield state
        state.routes.update(dict.fromkeys(state.addresses(), WAY))
        writer = TableWriter(self.tables, state)
        writer.rings.expect()
        with watched(self.tables):
            writer.follow()
            writer.rings.end_due()
        self.state = state

    def put(self, *services: Service) -> None:
        with self.command() as state:
            for each in services:
                state.put_service(each)

    def index(self, address: object, port: int = 80) -> int:
        """The index of a service's real, as the state says."""
        wanted = self.state.wanted.services[key(port)]
        at = [real.address for real in wanted.reals].index(address)
        return self.state.allocated.indices(key(port))[at]


@contextlib.contextmanager
def watched(tables: FakeTables) -> Iterator[None]:
    """Look at the tables as the program does, after each line of what writes them."""

    def trace(frame, event, arg):
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            check(tables, f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
    check(tables, "the end")


def check(tables: FakeTables, where: str) -> None:
    """Every service that the program finds has a ring, and each slot a real of that service."""
    import numpy as np

    reals = np.frombuffer(tables.reals.memory, np.dtype(tables.reals.leaf))["service"]
    dtype = ring_transition.slot_dtype(tables.ring.leaf)
    buckets = service_tables.elements(tables.director[0].services)
    entries = np.frombuffer(buckets, np.dtype(buckets._type_))["entry"].ravel()
    for number in entries["service"]["id"][entries["key"] != 0].tolist():
        assert number in tables.ring_bytes, f"{where}: service {number} has no ring"
        ring = np.frombuffer(tables.ring_bytes[number], dtype)
        owners = {name: ring[name].tolist() for name in ("real", "previous", "previous_pick_real")}
        named = {real for each in owners.values() for real in each} - {0, NOBODY, BY_PICK}
        strange = {index for index in named if reals[index] != number}
        assert not strange, f"{where}: the ring of service {number} names reals {strange}"


@pytest.fixture(autouse=True)
def _no_kernel(monkeypatch):
    """The kernel's jiffies stand still."""
    monkeypatch.setattr(clock, "jiffies", lambda: 0)


@pytest.fixture
def side() -> Side:
    return Side()


weights = st.lists(st.integers(0, 3), max_size=len(POOL))
services = st.builds(
    lambda scheduler, weights, port: service(scheduler, *weights, port=port),
    st.sampled_from(list(SCHEDULERS)),
    weights,
    st.sampled_from([80, 81, 0]),
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(services, st.sampled_from([80, 81, 0])), min_size=1, max_size=6))
def test_every_step_forwards(steps):
    """Services come, change and go: at no line does the program find a ring or a real missing."""
    side = Side()
    for step in steps:
        with side.command() as state:
            if isinstance(step, Service):
                state.put_service(step)
            elif key(step) in state.wanted.services:
                state.remove_service(key(step))

    known = side.state.allocated
    assert set(known.all_indices()) == set(side.tables.live_reals())
    assert set(known.services.values()) == set(side.tables.ring_bytes)


def test_reals_then_ring_then_service(side):
    """When the ring is swapped in, its reals are there and its service is not yet."""
    seen = []
    side.tables.before_rings = lambda rings: seen.append(
        (side.tables.live_reals(), side.tables.service_entry(key()))
    )

    side.put(service("rr", 1, 1))

    assert [({1: 1, 2: 1}, None)] == seen
    assert [2, 1] == side.tables.owners(key())  # as IPVS's rr: the last one that was added first


def test_a_service_goes_the_other_way(side):
    """Service, ring, reals: nothing of it stays."""
    side.put(service("rr", 1, 1))
    side.tables.said.clear()

    with side.command() as state:
        state.remove_service(key())

    assert side.tables.service_entry(key()) is None
    assert [("drop ring", 1)] == side.tables.said
    assert {} == side.tables.live_reals()
    assert not any(bytes(side.tables.reals.memory))


def test_a_removed_real_is_counted_with_its_service(side):
    """What it was sent stays in the service's totals, and a real that follows starts at zero."""
    side.put(service("rr", 1, 1))
    index = side.index(POOL[0])
    stats = table_writer.elements(side.tables.cpus[0].stats)
    stats[index].packets = 7

    side.put(service("rr", 1))
    side.put(replace(service("rr", 1), reals=(Real(POOL[1]),)))

    assert 7 == side.state.removed[key()]["packets"]
    assert {0} == {side.tables.real_stats.sum_cpus(i)["packets"] for i in range(8)}


def test_a_change_of_mh_is_a_transition(side):
    """Slots that change their owner remember the previous one, until the transition's time is up
    and no live record names it.
    """
    side.put(service("mh", 1))
    side.put(service("mh", 1, 1))
    first, second = side.index(POOL[0]), side.index(POOL[1])
    ring = side.tables.read_ring(1)
    moved = [slot for slot in ring if slot.real == second]
    assert {(first, RECORDED)} == {(slot.previous, slot.flags) for slot in moved}
    assert {(0, 0)} == {(s.previous, s.flags) for s in ring if s.real == first}

    record = 1 << 63 | enum_values("flow_state")["FLOW_ESTABLISHED"] << 32 | first << 16
    side.tables.flows[0].entry[0] = record  # a live flow, of the previous owner
    with side.command() as state:
        state.transitions[key()].until = 0
    assert key() in side.state.transitions

    side.tables.flows[0].entry[0] = 0
    with side.command() as state:
        state.transitions[key()].until = 0
    assert {} == side.state.transitions
    assert {(0, 0)} == {(slot.previous, slot.flags) for slot in side.tables.read_ring(1)}


def test_found_is_apart_from_the_weight(side):
    """Found 0 drains and 50 halves; what is configured, saved and shown stays as it was said."""
    side.put(service("wrr", 2, 2))
    before = side.state.configuration()

    with side.command() as state:
        state.found[key()] = {str(POOL[0]): 0, str(POOL[1]): 50}
        state.touch(key())

    assert [0, 1] == [real.weight for real in side.state.effective(key()).reals]
    assert [2, 2] == [real.weight for real in side.state.wanted.services[key()].reals]
    assert before == side.state.configuration()
    assert {side.index(POOL[1])} == set(side.tables.owners(key()))


def test_prune_removes_what_the_state_does_not_name(side):
    """Strays of every kind go; what is wanted is as it was, byte for byte."""
    side.put(service("rr", 1, 1))
    before = [bytes(t.memory) for name, t in side.tables if name in ("director", "reals", "cpus")]
    ring = dict(side.tables.ring_bytes)
    stray = new_state()
    stray.put_service(service("mh", 1, port=99))  # a command that was killed
    stray.allocated.services[key(99)] = 7
    stray.allocated.reals[key(99)] = [40]
    stray.routes[str(POOL[0])] = WAY
    stray.wanted.vips = {parse_address("192.0.2.66"): ""}
    writer = TableWriter(side.tables, stray)
    writer.lookups.add_vip(parse_address("192.0.2.66"))
    writer.deny(["203.0.113.0/24"])
    side.tables.deny(parse_prefix("203.0.113.0/24"))
    writer.services(stray.wanted.services)
    assert {1, 7} == set(side.tables.ring_bytes)

    pruning.prune(TableWriter(side.tables, side.state))

    after = [bytes(t.memory) for name, t in side.tables if name in ("director", "reals", "cpus")]
    assert before == after
    assert ring == side.tables.ring_bytes
    assert set() == side.tables.prefixes


def test_prune_takes_a_removed_real_for_its_service(side):
    """A real that lost its place in a service leaves what it counted to that service."""
    side.put(service("rr", 1, 1))
    table_writer.elements(side.tables.cpus[0].stats)[side.index(POOL[1])].packets = 5
    state = side.state
    state.put_service(service("rr", 1))

    writer = TableWriter(side.tables, state)
    writer.services([key()])
    pruning.prune(writer)

    assert 5 == state.removed[key()]["packets"]
    assert {1: 1} == side.tables.live_reals()


def test_deny_list_follows(side):
    """The program is told to ask for prefixes exactly while there are some."""
    writer = TableWriter(side.tables, side.state)
    side.state.put_denied(["203.0.113.0/24"])
    writer.deny(side.state.wanted.denied)
    assert {parse_prefix("203.0.113.0/24")} == side.tables.prefixes
    assert 1 == side.tables.director[0].config.denying

    side.state.put_denied([])
    writer.deny(["203.0.113.0/24"])

    assert set() == side.tables.prefixes
    assert 0 == side.tables.director[0].config.denying


def test_timeouts_keep_the_secret(side):
    """The flows' secret is made once; a change of timeouts leaves it, so flows are still found."""
    TableWriter(side.tables, side.state).config()
    config = side.tables.director[0].config
    secret = list(config.flow_key)
    assert all(secret)

    side.state.wanted.timeouts = Timeouts(tcp=60, tcpfin=2, udp=3)
    TableWriter(side.tables, side.state).config()

    assert secret == list(config.flow_key)
    states = enum_values("flow_state")
    assert CLOCK.ticks(60) == config.timeout[states["FLOW_ESTABLISHED"]]
    assert CLOCK.ticks(2) == config.timeout[states["FLOW_CLOSING"]]


def test_a_full_bucket_is_named(side):
    """A service whose buckets are both full is refused in one line, and those there stay."""
    ports = range(1, 60000)
    writer = TableWriter(side.tables, side.state)
    writer.lookups.add_vip(key().vip)
    with pytest.raises(TableFull, match=r"both its buckets are full; attach with a larger"):
        for port in ports:
            writer.lookups.put_service(key(port), id=1, slots=0)
    assert writer.lookups.find_service(key(1)) is not None
