# SPDX-License-Identifier: MIT
"""Any sequence of changes: no connection moves unless its real was removed."""

import packets
import pytest
from balancer import ACK, SYN
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from xdplb.model.address import parse_address
from xdplb.model.schedulers import SCHEDULERS, choose_real

pytestmark = pytest.mark.root

POOL = [f"192.168.0.{n}" for n in range(1, 7)]
FIN = packets.fin()
SAFETY_S = 20  # ticks are longer than a second, and a little off
ESTABLISHED_S, CLOSING_S = 900 - SAFETY_S, 120 - SAFETY_S
SOME = settings(
    max_examples=10,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

weights = st.integers(0, 3)
picks = st.integers(0, 1 << 16)


class Changes(RuleBasedStateMachine):
    """One service, its reals and its connections; `live` says where each connection must go."""

    def __init__(self, lb, scheduler, flags):
        super().__init__()
        self.lb = lb
        self.live = {}  # client → [real, seconds idle, seconds it may be idle]
        self.known = {}  # address → weight
        lb.reset()
        lb.add_service(reals=[], scheduler=scheduler, flags=flags)

    def teardown(self):
        self.follow_all()

    # ---- what the operator does --------------------------------------------------------------

    @precondition(lambda self: len(self.known) < len(POOL))
    @rule(pick=picks, weight=weights)
    def add_real(self, pick, weight):
        absent = [address for address in POOL if address not in self.known]
        address = absent[pick % len(absent)]
        self.lb.add_real(address, weight)
        self.known[address] = weight

    @precondition(lambda self: self.known)
    @rule(pick=picks, weight=weights)
    def weigh(self, pick, weight):
        address = sorted(self.known)[pick % len(self.known)]
        self.lb.set_weight(address, weight)
        self.known[address] = weight

    @precondition(lambda self: any(self.known.values()))
    @rule(pick=picks)
    def drain(self, pick):
        serving = sorted(address for address, weight in self.known.items() if weight)
        address = serving[pick % len(serving)]
        self.lb.set_weight(address, 0)
        self.known[address] = 0

    @precondition(lambda self: self.known)
    @rule(pick=picks)
    def remove_real(self, pick):
        address = sorted(self.known)[pick % len(self.known)]
        self.lb.remove_real(address)
        del self.known[address]
        self.live = {c: state for c, state in self.live.items() if state[0] != address}

    @rule(scheduler=st.sampled_from(list(SCHEDULERS)), data=st.data())
    def change_scheduler(self, scheduler, data):
        allowed = sorted(SCHEDULERS[scheduler].flags)
        flags = data.draw(st.sets(st.sampled_from(allowed))) if allowed else set()
        self.lb.edit_service(scheduler=scheduler, flags=frozenset(flags))

    # ---- what clients do ---------------------------------------------------------------------

    @rule(pick=picks, port=st.integers(1, 65535), clients=st.integers(1, 20))
    def open_connections(self, pick, port, clients):
        """New flows go where the scheduler says now, transition or not."""
        for number in range(clients):
            client = str(parse_address("10.0.0.0") + pick * 251 + number), port
            self.open_connection(client)

    @precondition(lambda self: self.live)
    @rule(pick=picks)
    def use_port_again(self, pick):
        """A SYN on an established or closing flow begins a new one."""
        self.open_connection(sorted(self.live)[pick % len(self.live)])

    def open_connection(self, client):
        self.live.pop(client, None)
        real = self.lb.real_of(packets.from_client(SYN, *client))
        assert real in self.expected(client)
        if real is not None:
            self.live[client] = [real, 0, ESTABLISHED_S]
            self.follow(client)

    def expected(self, client):
        """The reals that may get a new flow of this client."""
        serving = {address for address, weight in self.known.items() if weight}
        service = self.lb.service()
        if service.scheduler in ("mh", "sh"):
            return {self.chosen(service, client)}
        return serving or {None}

    def chosen(self, service, client):
        """The real that Python's own scheduler gives to a new client."""
        ring = SCHEDULERS[service.scheduler].fill(service, self.lb.tunables.ring_slots)
        place = choose_real(service, ring, parse_address(client[0]), client[1])
        return None if place is None else str(service.reals[place].address)

    @precondition(lambda self: self.live)
    @rule(pick=picks, step=st.integers(1, 5))
    def send_on_some(self, pick, step):
        """Some connections send a packet: it reaches their reals."""
        for client in sorted(self.live)[pick % len(self.live) :: step]:
            self.follow(client)

    @precondition(lambda self: self.live)
    @rule(pick=picks)
    def close(self, pick):
        """A connection's FIN reaches its real, and so do packets shortly after."""
        client = sorted(self.live)[pick % len(self.live)]
        self.follow(client, FIN)
        self.live[client][2] = CLOSING_S

    @rule(seconds=st.sampled_from([10, 50, 100, 500, 850]))
    def pass_time(self, seconds):
        """Time passes. Connections that were idle for too long are removed."""
        self.lb.pass_time(seconds)
        for state in self.live.values():
            state[1] += seconds
        self.live = {client: state for client, state in self.live.items() if state[1] < state[2]}
        self.lb.look_at_transitions()

    def follow(self, client, frame=ACK):
        real, *_ = state = self.live[client]
        assert real == self.lb.real_of(packets.from_client(frame, *client))
        state[1] = 0

    def follow_all(self):
        for client in self.live:
            self.follow(client)


@pytest.mark.parametrize(
    ("scheduler", "flags"),
    [
        ("rr", []),
        ("wrr", []),
        ("mh", []),
        ("mh", ["mh-port"]),
        ("mh", ["mh-port", "mh-fallback"]),
        ("sh", ["sh-port"]),
        ("sh", ["sh-port", "sh-fallback"]),
    ],
)
def test_no_change_moves_a_connection(lb, scheduler, flags):
    """Reals are added, weighed, drained and removed, in any order and pace: connections stay."""
    run_state_machine_as_test(lambda: Changes(lb, scheduler, flags), settings=SOME)
