# SPDX-License-Identifier: MIT
"""The program chooses the real that Python's own schedulers, and IPVS's rules by hand, choose."""

import hashlib
from dataclasses import replace
from itertools import cycle, islice
from math import gcd
from random import Random

import packets
import pytest
from balancer import SMALL
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from xdplb.kernel.program_text import enum_values
from xdplb.model.address import parse_address
from xdplb.model.schedulers import SCHEDULERS, choose_real
from xdplb.model.service import Protocol, Real, Service, ServiceKey

pytestmark = pytest.mark.root

some = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

VIP = parse_address(packets.VIP)
POOL = [f"192.168.0.{n}" for n in range(1, 41)]
FRAMES = {Protocol.TCP: packets.syn(), Protocol.UDP: packets.udp()}
ACK = packets.ack()
PORTS = {
    scheduler: (packets.syn(dport=port), packets.ack(dport=port))
    for port, scheduler in enumerate(SCHEDULERS, 1000)
}

weights = st.lists(st.integers(0, 6), min_size=1, max_size=8)
protocols = st.sampled_from(Protocol)
clients = st.tuples(
    st.integers(1, 0xDFFFFFFF).map(lambda n: str(parse_address("0.0.0.0") + n)),
    st.integers(0, 65535),
)
many_clients = st.lists(clients, min_size=1, max_size=30, unique=True)


@st.composite
def services(draw, scheduler):
    """A service of this scheduler, with reals of a pool in any order."""
    chosen = draw(weights)
    addresses = draw(
        st.lists(st.sampled_from(POOL), min_size=len(chosen), max_size=len(chosen), unique=True)
    )
    lasting = [weight or draw(st.integers(0, 6)) for weight in chosen]
    reals = map(Real, map(parse_address, addresses), chosen, lasting)
    allowed = sorted(SCHEDULERS[scheduler].flags)
    flags = draw(st.sets(st.sampled_from(allowed))) if allowed else set()
    protocol = draw(protocols)
    one_packet = protocol == Protocol.UDP and draw(st.booleans())
    key = ServiceKey(protocol, VIP, 80)
    return Service(key, scheduler, frozenset(flags), one_packet, tuple(reals))


def hashed(service, ring_slots):
    """The oracle of mh and sh: client → real."""
    ring = SCHEDULERS[service.scheduler].fill(service, ring_slots)

    def choose(client):
        place = choose_real(service, ring, parse_address(client[0]), client[1])
        return None if place is None else str(service.reals[place].address)

    return choose


def take_turns(service):
    """IPVS's rr and wrr, line by line: an endless walk from the head of the list."""
    reals = [(str(r.address), r.weight) for r in reversed(service.reals) if r.weight]
    if service.scheduler == "rr":
        yield from cycle([address for address, _ in reals])
        return
    step = gcd(*(weight for _, weight in reals))
    top = max(weight for _, weight in reals)
    for level in cycle(range(top, 0, -step)):
        yield from (address for address, weight in reals if weight >= level)


def seen(lb, service, client):
    return lb.real_of(packets.from_client(FRAMES[service.key.protocol], *client))


@pytest.mark.parametrize("scheduler", ["mh", "sh"])
@some
@given(st.data())
def test_hashed_choice_is_the_oracles(lb, scheduler, data):
    """Any service with any flags and weights: each client gets the real that Python chooses."""
    service = data.draw(services(scheduler))
    lb.reset()
    lb.put_services([service])
    choose = hashed(service, lb.tunables.ring_slots)

    for client in data.draw(many_clients):
        assert choose(client) == seen(lb, service, client)
        assert choose(client) == seen(lb, service, client)


@pytest.mark.parametrize("scheduler", ["rr", "wrr"])
@some
@given(st.data())
def test_turns_are_the_oracles(lb, scheduler, data):
    """Any weights: new flows get their reals exactly as in IPVS's own walk."""
    service = data.draw(services(scheduler))
    assume(any(real.weight for real in service.reals))
    chosen = data.draw(many_clients)
    lb.reset()
    lb.put_services([service])

    got = [seen(lb, service, client) for client in chosen]

    assert list(islice(take_turns(service), len(chosen))) == got
    if not service.one_packet:
        assert got == [seen(lb, service, client) for client in chosen]


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "mh", "sh"])
@some
@given(st.data())
def test_who_has_nobody_drops(lb, scheduler, data):
    """New flows are dropped exactly if no real has weight."""
    service = data.draw(services(scheduler))
    client = data.draw(clients)
    lb.reset()
    lb.put_services([service])

    forwarded = seen(lb, service, client) is not None

    assert forwarded == any(real.weight for real in service.reals)
    assert {"forwarded" if forwarded else "drop_no_real": 1} == lb.counted


@some
@given(st.data())
def test_several_services_keep_apart(lb, data):
    """With services of all schedulers, each flow gets its own service's real, and keeps it."""
    lb.reset()
    frames = {}
    for scheduler, (syn, ack) in PORTS.items():
        service = data.draw(services(scheduler), label=scheduler)
        key = ServiceKey(Protocol.TCP, VIP, int.from_bytes(syn[36:38], "big"))
        lb.put_services([Service(key, scheduler, service.flags, False, service.reals)])
        frames[syn, ack] = {str(r.address) for r in service.reals if r.weight}
    for client in data.draw(many_clients):
        for (syn, ack), reals in frames.items():
            real = lb.real_of(packets.from_client(syn, *client))

            assert real in (reals or {None})
            if real is not None:
                assert real == lb.real_of(packets.from_client(ack, *client))


# The rings that Linux 6.1's own ip_vs_mh.c filled for these reals (tests/unit/test_schedulers.py
# says how they were had): last weights 1, 3, 700, 12, 65535, the fourth is drained, the port is 80.

KERNEL_WEIGHTS = [1, 3, 700, 12, 65535]
KERNEL_RINGS = {
    251: "495befe0effaf51f",
    4093: "6ce2d76370d00b60",
    65521: "17dc14d76b27ce3e",
    131071: "4a8a3e2fa362b55b",
}


def of_size(ring_slots):
    """The program with rings of this size; the usual program if its rings have it."""
    return replace(SMALL, ring_slots=ring_slots)


@pytest.mark.parametrize("ring_slots", KERNEL_RINGS)
def test_rings_in_the_tables_are_the_kernels(balancers, ring_slots):
    """The program's ring is the kernel's table, slot for slot, at every size."""
    with balancers(of_size(ring_slots)).test() as lb:
        addresses = [f"10.0.0.{n}" for n in range(1, 6)]
        reals = [f"{a} weight={w}" for a, w in zip(addresses, KERNEL_WEIGHTS, strict=True)]
        lb.add_service("192.168.2.100:80", reals=reals, flags=["mh-fallback"])
        lb.set_weight("10.0.0.4", 0)
        places = {lb.index(address): place for place, address in enumerate(addresses)}

        ring = lb.ring()
        drained = ring["flags"] & enum_values("slot_flag")["SLOT_RESELECT"] != 0
        table = [3 if d else places[r] for r, d in zip(ring["real"], drained, strict=True)]

        assert KERNEL_RINGS[ring_slots] == digest(table)


def digest(table):
    return hashlib.sha256(" ".join(map(str, table)).encode()).hexdigest()[:16]


@pytest.mark.parametrize("ring_slots", KERNEL_RINGS)
def test_slots_of_every_ring_size_are_the_oracles(balancers, ring_slots):
    """The program's own remainder (it does not divide) is right for every size of ring."""
    reals = tuple(map(Real, map(parse_address, POOL)))
    service = Service(ServiceKey(Protocol.TCP, VIP, 80), "mh", frozenset({"mh-port"}), False, reals)
    choose = hashed(service, ring_slots)
    random = Random(ring_slots)
    with balancers(of_size(ring_slots)).test() as lb:
        lb.put_services([service])
        for _ in range(1000):
            client = str(parse_address("1.0.0.0") + random.getrandbits(31)), random.getrandbits(16)

            assert choose(client) == lb.real_of(packets.from_client(ACK, *client))
