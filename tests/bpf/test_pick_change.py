# SPDX-License-Identifier: MIT
"""Another scheduler, or another port flag, breaks no connection: `xdplb service edit -s`."""

import ctypes

import packets
import pytest
from balancer import ACK, SYN, XDP_PASS, XDP_TX
from scapy.layers.inet import TCP

from xdplb.director.table_writer import TableWriter
from xdplb.kernel.program_text import enum_values
from xdplb.kernel.service_tables import ServiceTables
from xdplb.model.address import parse_address
from xdplb.model.schedulers import SCHEDULERS, choose_real
from xdplb.model.service import Service

pytestmark = pytest.mark.root

A, B, C, D = (f"192.168.0.{n}" for n in range(7, 11))
REALS = [A, f"{B} weight=3", f"{C} weight=2"]
WAYS = {
    "mh": ("mh", frozenset()),
    "mh-port": ("mh", frozenset({"mh-port"})),
    "sh": ("sh", frozenset()),
    "sh-port": ("sh", frozenset({"sh-port"})),
    "rr": ("rr", frozenset()),
    "wrr": ("wrr", frozenset()),
}
HASHED = [name for name in WAYS if name not in ("rr", "wrr")]
CLIENTS = 120


def begin(lb, way, reals=REALS):
    scheduler, flags = WAYS[way]
    lb.add_service(reals=reals, scheduler=scheduler, flags=flags)


def change(lb, way):
    scheduler, flags = WAYS[way]
    lb.edit_service(scheduler=scheduler, flags=flags)


def connect(lb, first="10.200.0.1"):
    """Several connections of each client, so that the port counts, and several clients."""
    start, connections = parse_address(first), {}
    for number in range(CLIENTS):
        client = str(start + number % 40), packets.SPORT + number
        connections[client] = lb.establish(*client)
    return connections


def chosen(service: Service, lb, client):
    """The real that a hashing scheduler says."""
    ring = SCHEDULERS[service.scheduler].fill(service, lb.tunables.ring_slots)
    place = choose_real(service, ring, parse_address(client[0]), client[1])
    return str(service.reals[place].address)


def is_steady(lb):
    """No slot is in transition, and none names a previous owner."""
    ring = lb.ring()
    moving = lb.key in lb.state.transitions
    return not (ring["flags"].any() or ring["previous"].any() or moving)


@pytest.mark.parametrize("after", WAYS)
@pytest.mark.parametrize("before", WAYS)
def test_change_moves_no_connection(lb, before, after):
    """Connections stay; new ones go by the new scheduler, and stay too."""
    begin(lb, before)
    connections = connect(lb)

    change(lb, after)
    new = connect(lb, first="10.201.0.1")

    assert {} == lb.moved(connections)
    assert {} == lb.moved(connections | new)
    if after in HASHED:
        assert {client: chosen(lb.service(), lb, client) for client in new} == new
    else:
        counts = sorted(list(new.values()).count(real) for real in (A, B, C))
        assert counts == ([40, 40, 40] if after == "rr" else [20, 40, 60])


@pytest.mark.parametrize("after", WAYS)
@pytest.mark.parametrize("before", WAYS)
def test_transition_ends(lb, before, after):
    """When time is up and the old connections are over, nothing is left of the previous pick."""
    begin(lb, before)
    lb.moved(connect(lb))
    change(lb, after)
    lb.pass_time(2000)

    lb.end_transitions()

    assert is_steady(lb)
    if after in HASHED:
        lb.words[:] = 0
        connections = connect(lb, first="10.201.0.1")
        assert [] == lb.flows
        assert {client: chosen(lb.service(), lb, client) for client in connections} == connections


@pytest.mark.parametrize("after", ["rr", "wrr"])
@pytest.mark.parametrize("before", HASHED)
def test_turns_need_time_only(lb, before, after):
    """By then each connection that still goes on has a record: the transition ends, they stay."""
    begin(lb, before)
    connections = connect(lb)
    change(lb, after)
    lb.moved(connections)

    lb.end_transitions()

    assert is_steady(lb)
    assert {} == lb.moved(connections)


@pytest.mark.parametrize("after", WAYS)
@pytest.mark.parametrize("before", HASHED)
def test_connections_that_are_nearly_idle_stay(lb, before, after):
    """One packet in 400 seconds keeps a connection where it is, over the transition's end."""
    begin(lb, before)
    connections = connect(lb)
    change(lb, after)

    for _ in range(4):
        lb.pass_time(400)
        lb.look_at_transitions()
        assert {} == lb.moved(connections)


@pytest.mark.parametrize(
    "ways",
    [
        ("mh", "rr", "wrr", "sh"),
        ("sh-port", "wrr", "mh"),
        ("mh", "mh-port", "sh", "mh"),
        ("rr", "mh", "sh", "rr"),
        ("mh", "rr", "mh"),
    ],
    ids="-".join,
)
def test_changes_in_a_row_move_no_connection(lb, ways):
    """Connections from before and from between all changes stay; reals come in the meantime."""
    begin(lb, ways[0])
    connections, used = connect(lb), {A, B, C}
    for number, way in enumerate(ways[1:]):
        change(lb, way)
        real = f"192.168.0.{20 + number}"
        lb.add_real(real)
        used.add(real)
        connections |= connect(lb, first=f"10.20{number + 1}.0.1")

    assert used == set(connections.values())
    assert {} == lb.moved(connections)


@pytest.mark.parametrize("after", WAYS)
def test_change_within_a_transition_keeps_first_owners(lb, after):
    """A real was added, so slots had changed hands already, when the scheduler changes."""
    begin(lb, "sh" if after == "mh" else "mh")
    connections = connect(lb)
    lb.add_real(D)
    connections |= connect(lb, first="10.201.0.1")

    change(lb, after)

    assert {} == lb.moved(connections)


@pytest.mark.parametrize("after", ["mh", "sh", "rr"])
def test_drained_fallback_ring_as_the_previous_one(lb, after):
    """mh-fallback had spread a drained real's new clients; its old ones are still its own."""
    lb.add_service(reals=[A, B, C], flags=["mh-port", "mh-fallback"])
    connections = connect(lb)
    lb.set_weight(A, 0)
    connections |= connect(lb, first="10.201.0.1")

    change(lb, after)

    assert {A, B, C} == set(connections.values())
    assert {} == lb.moved(connections)


@pytest.mark.parametrize("before", ["mh-port", "sh", "rr"])
def test_fallback_ring_as_the_new_one(lb, before):
    """With mh-fallback and a drained real, new clients are hashed again, old ones stay."""
    begin(lb, before)
    connections = connect(lb)
    lb.set_weight(A, 0)

    lb.edit_service(scheduler="mh", flags=frozenset({"mh-fallback"}))
    new = connect(lb, first="10.201.0.1")

    assert {client: chosen(lb.service(), lb, client) for client in new} == new
    assert {} == lb.moved(connections | new)


@pytest.mark.parametrize("after", ["mh-port", "sh", "rr"])
def test_draining_all_after_the_change_moves_no_connection(lb, after):
    """The service's maintenance goes on: its connections too."""
    begin(lb, "mh", [A, B])
    connections = connect(lb)
    change(lb, after)

    lb.set_weight(A, 0)
    lb.set_weight(B, 0)

    assert {} == lb.moved(connections)


@pytest.mark.parametrize("after", HASHED)
def test_hash_after_turns_of_a_drained_service(lb, after):
    """All reals drained under rr, then mh or sh: connections go on."""
    begin(lb, "rr", [A, B])
    connections = connect(lb)
    lb.set_weight(A, 0)
    lb.set_weight(B, 0)

    change(lb, after)

    assert {} == lb.moved(connections)


@pytest.mark.parametrize("after", ["mh-port", "sh", "rr", "wrr"])
def test_removed_real_is_no_previous_owner(lb, after):
    """Its connections are lost, as they were; the others stay."""
    begin(lb, "mh")
    connections = connect(lb)
    change(lb, after)

    lb.remove_real(B)
    moved = lb.moved(connections)

    assert {client for client, real in connections.items() if real == B} == set(moved)
    assert B not in moved.values()
    if after in ("rr", "wrr"):
        assert {None} == set(moved.values())


def test_unknown_flow_by_turns_goes_up(lb):
    """Without a previous owner, rr passes a packet in midstream to the kernel, as ever."""
    begin(lb, "mh", [A])
    change(lb, "rr")
    lb.add_real(B)
    lb.remove_real(A)

    assert (XDP_PASS, ACK) == lb.send(ACK)
    assert {"pass_no_flow": 1} == lb.counted


@pytest.mark.parametrize("after", ["rr", "sh"])
def test_packet_in_midstream_is_recorded(lb, after):
    """A packet without a record goes to the previous owner; the next one makes it a known flow."""
    begin(lb, "mh-port")
    real = lb.establish()
    change(lb, after)

    assert (XDP_TX, packets.ipip(ACK, real)) == lb.send(ACK)
    assert [("MIDSTREAM", real)] == lb.flows
    assert real == lb.follow()
    assert [("ESTABLISHED", real)] == lb.flows


@pytest.mark.parametrize("after", ["rr", "sh"])
def test_port_that_is_used_again_begins_a_new_flow(lb, after):
    """A SYN after one packet in midstream is a new connection."""
    begin(lb, "mh")
    lb.establish()
    change(lb, after)
    lb.follow()

    lb.send(SYN)

    assert ["NEW"] == [state for state, _ in lb.flows]


@pytest.mark.parametrize("after", ["rr", "sh", "mh-port"])
def test_killed_between_ring_and_service(lb, after):
    """The ring was put in place, the service was not: all is well, and the next command ends it."""
    begin(lb, "mh")
    connections = connect(lb)
    service = ServiceTables(lb.tables).find_service(lb.key).service
    old = bytes(service)
    change(lb, after)
    new, ring = bytes(service), lb.ring().tobytes()
    ctypes.memmove(ctypes.addressof(service), old, len(old))

    between = connect(lb, first="10.201.0.1")
    assert {} == lb.moved(connections | between)
    TableWriter(lb.tables, lb.state).all()

    assert (new, ring) == (bytes(service), lb.ring().tobytes())
    assert {} == lb.moved(connections | between)


def test_error_finds_the_previous_owner(lb):
    """An ICMP error about an old connection goes to its real, though no packet recorded it yet."""
    begin(lb, "mh-port")
    real = lb.establish()
    change(lb, "rr")
    error = packets.icmp_error(packets.answer(TCP(sport=packets.DPORT, dport=packets.SPORT)))

    assert real == lb.real_of(error)
    assert [] == lb.flows


def test_udp_flows_need_no_previous_pick(lb):
    """They are all recorded: the ring names no previous owner."""
    lb.add_service(reals=[A, B, C], udp=True)
    change(lb, "rr")

    assert not lb.ring()["previous"].any()
    assert not (lb.ring()["flags"] & enum_values("slot_flag")["SLOT_PREVIOUS_MH"]).any()
