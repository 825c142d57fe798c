# SPDX-License-Identifier: MIT
"""A change of a service's reals breaks no connection, but those of a real that was removed."""

import packets
import pytest
from balancer import ACK, SYN, XDP_DROP, XDP_TX

from xdplb.kernel.program_text import enum_values

pytestmark = pytest.mark.root

A, B, C = "192.168.0.7", "192.168.0.8", "192.168.0.9"
HASHED = pytest.mark.parametrize("scheduler", ["mh", "sh"])
EVERY = pytest.mark.parametrize("scheduler", ["rr", "wrr", "mh", "sh"])


def reals_of(connections):
    return set(connections.values())


def recorded_slots(lb):
    return int((lb.ring()["flags"] & enum_values("slot_flag")["SLOT_RECORDED"] != 0).sum())


# Without a change, hashed flows leave no trace.


@HASHED
def test_nothing_is_recorded_while_nothing_changes(lb, scheduler):
    """In steady state, mh and sh write no record."""
    lb.add_service(reals=[A, B], scheduler=scheduler)

    connections = lb.connect()

    assert {A, B} == reals_of(connections)
    assert [] == lb.flows
    assert 0 == recorded_slots(lb)


# Adding a real.


@EVERY
def test_adding_a_real_moves_no_connection(lb, scheduler):
    """Old connections stay; new ones reach the new real too."""
    lb.add_service(reals=[A, B], scheduler=scheduler)
    connections = lb.connect()

    lb.add_real(C)

    assert {} == lb.moved(connections)
    assert {A, B, C} == reals_of(lb.connect(first="10.201.0.1"))


@HASHED
def test_flow_without_record_is_recorded_with_the_previous_owner(lb, scheduler):
    """In a slot that moved, a flow that is neither new nor recorded belongs to the
    previous owner.
    """
    lb.add_service(reals=[A], scheduler=scheduler)
    lb.add_real(B)
    client = next(client for client, real in lb.connect().items() if real == B)
    lb.words[:] = 0  # as if it had begun before

    assert A == lb.follow(*client)
    assert [("MIDSTREAM", A)] == lb.flows
    assert A == lb.follow(*client)
    assert [("ESTABLISHED", A)] == lb.flows


@HASHED
def test_syn_goes_to_the_present_owner_and_is_recorded(lb, scheduler):
    """In a slot that moved, a new flow belongs to the present owner, with its later packets."""
    lb.add_service(reals=[A], scheduler=scheduler)
    lb.add_real(B)

    connections = lb.connect(50)

    assert {A, B} == reals_of(connections)
    assert {("ESTABLISHED", B)} == set(lb.flows)
    assert {} == lb.moved(connections)


# Draining a real.


@EVERY
def test_draining_a_real_moves_no_connection(lb, scheduler):
    """With weight 0, a real keeps its connections and gets no new ones."""
    lb.add_service(reals=[A, B], scheduler=scheduler)
    connections = lb.connect()

    lb.set_weight(B, 0)

    assert {} == lb.moved(connections)
    assert {A} == reals_of(lb.connect(first="10.201.0.1"))


@EVERY
def test_weighing_a_real_anew_moves_no_connection(lb, scheduler):
    """Weights count for new connections only."""
    lb.add_service(reals=[A, f"{B} weight=5", C], scheduler=scheduler)
    connections = lb.connect()

    lb.set_weight(A, 7)
    lb.set_weight(B, 1)

    assert {} == lb.moved(connections)


@EVERY
def test_draining_the_only_real_moves_no_connection(lb, scheduler):
    """If all reals are drained, the service keeps its connections and drops new ones."""
    lb.add_service(reals=[A], scheduler=scheduler)
    connections = lb.connect()

    lb.set_weight(A, 0)

    assert {} == lb.moved(connections)
    assert XDP_DROP == lb.send(packets.from_client(SYN, "10.201.0.1", 1))[0]


@EVERY
def test_draining_all_and_taking_one_back_moves_no_connection(lb, scheduler):
    """Draining all reals, one after the other, breaks no connection."""
    lb.add_service(reals=[A, B], scheduler=scheduler)
    connections = lb.connect()

    for real, weight in ((A, 0), (B, 0), (A, 1)):
        lb.set_weight(real, weight)

    assert {} == lb.moved(connections)


@HASHED
def test_draining_the_only_real_keeps_udp_flows(lb, scheduler):
    """UDP flows are recorded, so they stay with a drained real."""
    lb.add_service(reals=[A], scheduler=scheduler, udp=True)
    datagram = packets.udp()
    lb.send(datagram)

    lb.set_weight(A, 0)

    assert (XDP_TX, packets.ipip(datagram, A)) == lb.send(datagram)


# Removing a real.


@EVERY
def test_removing_a_real_moves_only_its_own_connections(lb, scheduler):
    """Connections of other reals stay; a removed real gets no packet."""
    lb.add_service(reals=[A, B, C], scheduler=scheduler)
    connections = lb.connect()

    lb.remove_real(B)

    assert {c for c, real in connections.items() if real == B} == set(lb.moved(connections))
    assert B not in reals_of(lb.moved(connections))
    assert {A, C} == reals_of(lb.connect(first="10.201.0.1"))


@HASHED
def test_removed_real_is_nobodys_previous_owner(lb, scheduler):
    """Slots of a removed real move at once: no transition, nothing recorded."""
    lb.add_service(reals=[A, B], scheduler=scheduler)
    connections = lb.connect()

    lb.remove_real(B)

    assert {A} == reals_of(connections | lb.moved(connections))
    assert 0 == recorded_slots(lb)
    assert [] == lb.flows


@HASHED
def test_drained_real_that_is_removed_owns_nothing(lb, scheduler):
    """A previous owner that is removed gets no more packets of those slots."""
    lb.add_service(reals=[A, B], scheduler=scheduler)
    connections = lb.connect()
    lb.set_weight(B, 0)
    lb.moved(connections)  # all are recorded now

    lb.remove_real(B)

    assert {c for c, real in connections.items() if real == B} == set(lb.moved(connections))
    assert {A} == {lb.follow(*client) for client in connections}


# Slots that change twice.


@HASHED
def test_slot_that_changes_twice_keeps_its_first_previous_owner(lb, scheduler):
    """Flows from before both changes stay, and so do those from between them."""
    lb.add_service(reals=[A], scheduler=scheduler)
    before = lb.connect()
    lb.add_real(B)
    between = lb.connect(first="10.201.0.1")
    lb.add_real(C)
    after = lb.connect(first="10.202.0.1")

    assert ({A}, {A, B}, {A, B, C}) == tuple(map(reals_of, (before, between, after)))
    assert {} == lb.moved(before | between | after)
    twice = lb.ring()[lb.ring()["real"] == lb.index(C)]
    assert {lb.index(A)} == set(twice["previous"].tolist())


@HASHED
def test_real_that_comes_back_has_its_old_connections(lb, scheduler):
    """After draining and taking back, all connections are still on their reals."""
    lb.add_service(reals=[A, B], scheduler=scheduler)
    before = lb.connect()
    lb.set_weight(A, 0)
    between = lb.connect(first="10.201.0.1")
    lb.set_weight(A, 1)

    assert {} == lb.moved(before | between)


# The end of transitions.


@HASHED
def test_transition_ends_when_nobody_needs_it(lb, scheduler):
    """When its time is up and no record names the previous owner, slots are stateless again."""
    lb.add_service(reals=[A], scheduler=scheduler)
    lb.add_real(B)
    connections = lb.connect()

    ended = lb.end_transitions()

    assert [lb.key] == ended
    assert 0 == recorded_slots(lb)
    assert {} == lb.moved(connections)


@HASHED
def test_transition_waits_for_the_previous_owners_flows(lb, scheduler):
    """While a live record names the previous owner, its slots stay in transition."""
    lb.add_service(reals=[A], scheduler=scheduler)
    connections = lb.connect()
    lb.add_real(B)
    lb.moved(connections)  # they are recorded

    assert [] == lb.end_transitions()
    assert {} == lb.moved(connections)

    lb.pass_time(1000)
    assert [lb.key] == lb.end_transitions()


@HASHED
def test_transition_waits_for_the_flows_of_a_real_that_was_between(lb, scheduler):
    """B had the slots while A was drained. B's flows stay, although B is no slot's
    previous owner.
    """
    lb.add_service(reals=[A, B], scheduler=scheduler)
    lb.set_weight(A, 0)
    between = lb.connect()
    lb.set_weight(A, 1)

    lb.end_transitions()

    assert {} == lb.moved(between)


@HASHED
def test_transition_waits_for_flows_of_slots_without_a_previous_owner(lb, scheduler):
    """A was removed, so the slots that went from B to C have no previous owner. B's flows stay."""
    lb.add_service(reals=[A], scheduler=scheduler)
    lb.add_real(B)
    lb.remove_real(A)
    between = lb.connect()
    lb.add_real(C)

    lb.end_transitions()

    assert {} == lb.moved(between)


def test_transition_waits_for_flows_that_were_reselected(lb):
    """With mh-fallback, a drained real's clients went to several reals. They stay there."""
    lb.add_service(reals=[A, B, C], flags=["mh-fallback"])
    lb.set_weight(A, 0)
    between = lb.connect()
    lb.set_weight(A, 1)

    lb.end_transitions()

    assert {} == lb.moved(between)


@HASHED
def test_transition_waits_for_connections_that_are_nearly_idle(lb, scheduler):
    """A packet every hundred seconds keeps a connection, before and after the transition's time."""
    lb.add_service(reals=[A], scheduler=scheduler)
    connections = lb.connect(20)
    lb.add_real(B)

    for _ in range(15):
        lb.pass_time(100)
        lb.look_at_transitions()
        assert {} == lb.moved(connections)


# Another scheduler.


@HASHED
def test_recorded_flows_outlive_a_change_of_scheduler(lb, scheduler):
    """From rr to mh: every flow has a record, so none breaks."""
    lb.add_service(reals=[A, B], scheduler="rr")
    connections = lb.connect()

    lb.edit_service(scheduler=scheduler)

    assert {} == lb.moved(connections)


def test_udp_flows_outlive_a_change_of_scheduler(lb):
    """UDP's flows are recorded under every scheduler."""
    lb.add_service(reals=[A, B], scheduler="mh", flags=["mh-port"], udp=True)
    frames = [packets.udp(sport=1000 + n) for n in range(20)]
    before = [lb.real_of(frame) for frame in frames]

    lb.edit_service(scheduler="rr", flags=frozenset())

    assert {A, B} == set(before)
    assert before == [lb.real_of(frame) for frame in frames]


def test_losing_all_records_loses_no_hashed_connection(lb):
    """A director that lost its flow table sends mh's connections to the same reals."""
    lb.add_service(reals=[A, B, C])
    connections = lb.connect()
    lb.words[:] = 0

    assert {} == lb.moved(connections)


def test_stateless_flows_begin_at_a_syn(lb):
    """Without records, a SYN counts as a new flow."""
    lb.add_service(reals=[A])

    for frame in (SYN, ACK, ACK):
        lb.send(frame)

    assert (3, 1) == (lb.stats(A)["packets"], lb.stats(A)["flows"])
