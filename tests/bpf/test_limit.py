# SPDX-License-Identifier: MIT
"""Limits of new flows: what begins beyond them is dropped, what has begun never is."""

import os

import numpy as np
import packets
import pytest
from balancer import ACK, SYN, XDP_DROP, XDP_TX
from packets import from_client

from xdplb.kernel.tables import elements

pytestmark = pytest.mark.root

A, B = "192.168.0.7", "192.168.0.8"
LIMIT = 10
OTHER = "192.168.1.201"  # packets.CIP is 192.168.1.200
SCHEDULERS = pytest.mark.parametrize("scheduler", ["rr", "wrr", "mh", "sh"])
KINDS = pytest.mark.parametrize("kind", ["limit", "source_limit"])
DROPPED = {"limit": "drop_limited", "source_limit": "drop_source_limited"}
UDP = packets.udp()


def syns(ports, src=packets.CIP):
    return [from_client(SYN, src, port) for port in ports]


def datagrams(ports):
    return [from_client(UDP, packets.CIP, port) for port in ports]


def send(lb, frames):
    """What became of frames that all come within one tick."""
    lb.counted  # noqa: B018 (looks away from what was)
    for frame in frames:
        lb.send(frame)
    return lb.counted


def limit_of(lb):
    """The only service's struct limit, live."""
    return elements(lb.tables.director[0].limits)[lb.state.allocated.id_of(lb.key)]


def tallies(lb):
    """All sources' tallies, live."""
    return np.frombuffer(lb.tables.sources.memory, np.uint64)


def next_tick(lb):
    """Make what the service and its sources have begun a tick old."""
    tally = limit_of(lb).tally
    if tally.word:
        tally.word -= 1 << 32
    tallies(lb)[:] = 0  # they are found by the tick, too


def per_tick(lb, number):
    return max(1, round(number * lb.clock.tick_s))


@KINDS
@SCHEDULERS
def test_syns_beyond_the_limit_are_dropped(lb, scheduler, kind):
    """Of thirty, as many begin as a tick's share of the limit is."""
    lb.add_service(reals=[A, B], scheduler=scheduler, **{kind: LIMIT})
    let = per_tick(lb, LIMIT)

    assert {"forwarded": let, DROPPED[kind]: 30 - let} == send(lb, syns(range(30)))


@KINDS
@pytest.mark.parametrize("scheduler", ["rr", "mh"])
def test_datagrams_without_a_record_are_limited(lb, scheduler, kind):
    """UDP: what begins a flow; those that follow in it are not asked."""
    lb.add_service(reals=[A, B], scheduler=scheduler, udp=True, **{kind: LIMIT})
    let = per_tick(lb, LIMIT)

    counted = send(lb, datagrams([*range(30), *range(let)]))

    assert {"forwarded": 2 * let, DROPPED[kind]: 30 - let} == counted


@KINDS
@pytest.mark.parametrize("scheduler", ["rr", "mh"])
def test_each_datagram_of_a_one_packet_service_is_limited(lb, scheduler, kind):
    """Where nothing is recorded, each is a flow, and counted as one."""
    lb.add_service(reals=[A], scheduler=scheduler, udp=True, one_packet=True, **{kind: LIMIT})
    let = per_tick(lb, LIMIT)

    assert {"forwarded": let, DROPPED[kind]: 30 - let} == send(lb, [UDP] * 30)
    assert let == lb.stats(A)["flows"]


@KINDS
@SCHEDULERS
def test_what_has_begun_is_never_limited(lb, scheduler, kind):
    """A connection's packets go on while SYNs are dropped."""
    lb.add_service(reals=[A, B], scheduler=scheduler, **{kind: 1})
    real = lb.establish()
    next_tick(lb)

    counted = send(lb, [*syns(range(9)), *[ACK] * 9])

    assert {"forwarded": 1 + 9, DROPPED[kind]: 8} == counted
    assert real == lb.follow()


@KINDS
def test_a_repeated_syn_of_a_recorded_flow_begins_nothing(lb, kind):
    """A retransmission reaches its real, though nothing more may begin."""
    lb.add_service(reals=[A, B], scheduler="rr", **{kind: 1})

    assert {"forwarded": 3, DROPPED[kind]: 1} == send(lb, [SYN, SYN, *syns([1]), SYN])


@KINDS
def test_what_is_dropped_is_not_recorded(lb, kind):
    """The ACK of a dropped SYN belongs to no flow."""
    lb.add_service(reals=[A], scheduler="rr", **{kind: 1})

    counted = send(lb, [*syns([1, 2]), from_client(ACK, packets.CIP, 2)])

    assert {"forwarded": 1, DROPPED[kind]: 1, "pass_no_flow": 1} == counted
    assert [("NEW", A)] == lb.flows


def test_what_is_dropped_takes_no_turn(lb):
    """The next flow that begins gets the next real."""
    lb.add_service(reals=[A, B], scheduler="rr", limit=1)
    got = []
    for port in range(3):
        got += [lb.real_of(syn) for syn in syns([10 * port, 10 * port + 1])]
        next_tick(lb)

    assert [B, None, A, None, B, None] == got


@KINDS
def test_slots_in_transition_are_limited_too(lb, kind):
    """There a SYN is looked up; one that is new is a new flow all the same."""
    lb.add_service(reals=[A], **{kind: LIMIT})
    real = lb.establish()
    next_tick(lb)
    lb.add_real(B)
    lb.set_weight(A, 0)
    let = per_tick(lb, LIMIT)

    assert {"forwarded": let, DROPPED[kind]: 30 - let} == send(lb, syns(range(30)))
    assert real == lb.follow()


def test_each_tick_begins_anew(lb):
    """The limit is of one tick, not of all time."""
    lb.add_service(limit=1)

    for _ in range(3):
        assert {"forwarded": 1, "drop_limited": 1} == send(lb, [SYN, SYN])
        next_tick(lb)


def test_a_cpu_that_is_a_tick_behind_does_not_begin_anew(lb):
    """It counts on in the tick that another one has begun."""
    lb.add_service(limit=1)
    lb.send(SYN)
    limit_of(lb).tally.word += 5 << 32

    assert XDP_DROP == lb.send(SYN)[0]


def test_all_cpus_count_together(lb):
    """The limit is the director's, not each CPU's."""
    lb.add_service(limit=1)
    home = os.sched_getaffinity(0)
    for cpu in sorted(home):
        os.sched_setaffinity(0, {cpu})
        lb.send(SYN)
    os.sched_setaffinity(0, home)

    assert {"forwarded": 1, "drop_limited": len(home) - 1} == {"drop_limited": 0, **lb.counted}


def test_sources_are_limited_apart(lb):
    """One source's flood leaves another what it may."""
    lb.add_service(source_limit=1)

    counted = send(lb, [*syns(range(20)), *syns([1], OTHER)])

    assert {"forwarded": 2, "drop_source_limited": 19} == counted


def test_a_source_does_not_use_up_what_all_have(lb):
    """What one has too many of is not counted of the service."""
    lb.add_service(source_limit=1, limit=2)
    others = [frame for last in (1, 2) for frame in syns([1], f"192.0.2.{last}")]

    counted = send(lb, [*syns(range(20)), *others])

    assert {"forwarded": 2, "drop_source_limited": 19, "drop_limited": 1} == counted


@KINDS
def test_services_are_limited_apart(lb, kind):
    """A service without a limit has none, and another one's count is its own."""
    lb.add_service("10.0.0.80:80", **{kind: 1})
    lb.add_service("10.0.0.80:443", **{kind: 1})
    lb.add_service("10.0.0.80:25")

    counted = send(lb, [packets.syn(dport=port) for port in (80, 443, 25)] * 3)

    assert {"forwarded": 1 + 1 + 3, DROPPED[kind]: 4} == counted


@KINDS
def test_limits_change_live(lb, kind):
    """Set, raised and taken away; a connection stays where it was."""
    lb.add_service(reals=[A, B], scheduler="rr")
    real = lb.establish()
    for number, (limit, let) in enumerate([(1, 1), (LIMIT, per_tick(lb, LIMIT)), (0, 30)]):
        lb.edit_service(**{kind: limit})
        next_tick(lb)

        counted = send(lb, syns(range(100 * number, 100 * number + 30)))

        assert {"forwarded": let, DROPPED[kind]: 30 - let} == {DROPPED[kind]: 0, **counted}
        assert real == lb.follow()


def test_a_removed_services_limit_is_nobodys(lb):
    """A service that is made in its place has none, and has begun nothing."""
    lb.add_service(limit=1, source_limit=1)
    lb.send(SYN)
    place = lb.state.allocated.id_of(lb.key)
    lb.remove_service()

    lb.add_service()

    left = limit_of(lb)
    assert place == lb.state.allocated.id_of(lb.key)
    assert (0, 0, 0) == (left.flows, left.source_flows, left.tally.word)


def test_sources_find_tallies_all_over(lb):
    """A thousand addresses in a row have as many tallies, but for a few by chance."""
    lb.add_service(source_limit=LIMIT)
    clients = [from_client(SYN, f"10.9.{n >> 8}.{n & 255}", 1) for n in range(1000)]

    assert {"forwarded": 1000} == send(lb, clients)
    words = tallies(lb)
    begun = words[words != 0] & np.uint64(0xFFFFFFFF)
    assert 1000 == begun.sum()
    assert len(begun) >= 990


@pytest.mark.parametrize("limit", [1, 2, 1000, 1_000_000_000])
def test_a_limit_is_at_least_one_a_tick_and_fits(lb, limit):
    """What stands in the table is the tick's share."""
    lb.add_service(limit=limit, source_limit=limit)

    assert per_tick(lb, limit) == limit_of(lb).flows == limit_of(lb).source_flows
    assert XDP_TX == lb.send(SYN)[0]
    assert XDP_TX == lb.send(ACK)[0]
