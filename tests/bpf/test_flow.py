# SPDX-License-Identifier: MIT
"""The flow table: what a record remembers, for how long, and which record gives way."""

import numpy as np
import packets
import pytest
from balancer import ACK, SYN, XDP_PASS, XDP_TX

from xdplb.model.tunables import Tunables

pytestmark = pytest.mark.root

A, B, C = "192.168.0.7", "192.168.0.8", "192.168.0.9"
FIN, RST = packets.fin(), packets.rst()


@pytest.fixture
def served(lb):
    """Two reals by turns: each new flow goes to the next one."""
    lb.add_service(reals=[A, B], scheduler="rr")
    return lb


# What is remembered.


def test_flow_follows_its_record(served):
    """All packets of a connection reach the real of its SYN."""
    real = served.real_of(SYN)

    assert [real] * 3 == [served.real_of(frame) for frame in (ACK, ACK, FIN)]
    assert {"forwarded": 4} == served.counted


@pytest.mark.parametrize(
    ("frames", "state"),
    [
        ([SYN], "NEW"),
        ([SYN, SYN], "NEW"),
        ([SYN, ACK], "ESTABLISHED"),
        ([SYN, packets.tcp("PA", payload=b"GET")], "ESTABLISHED"),
        ([SYN, ACK, FIN], "CLOSING"),
        ([SYN, ACK, RST], "CLOSING"),
        ([SYN, RST], "CLOSING"),
        ([SYN, packets.tcp("RA")], "CLOSING"),
        ([SYN, ACK, FIN, ACK], "CLOSING"),
        ([SYN, packets.tcp("SA")], "ESTABLISHED"),
    ],
)
def test_state_of_tcp_flows(served, frames, state):
    """A record is new after a SYN, established after more, closing after a FIN or RST."""
    real = served.real_of(frames[0])
    for frame in frames[1:]:
        served.send(frame)

    assert [(state, real)] == served.flows


def test_state_of_udp_flows(lb):
    """A datagram's record is new until the flow's second datagram."""
    lb.add_service(udp=True)

    lb.send(packets.udp())
    assert [("UDP_NEW", packets.RIP)] == lb.flows

    lb.send(packets.udp())
    assert [("UDP", packets.RIP)] == lb.flows


@pytest.mark.parametrize(
    "other",
    [
        packets.syn(src="192.168.1.201"),
        packets.syn(sport=packets.SPORT + 1),
        packets.syn(sport=packets.SPORT ^ 0x8000),
        packets.syn(src="200.1.168.192"),
    ],
)
def test_flows_are_told_apart_by_client(served, other):
    """Another address or port is another flow."""
    assert served.real_of(SYN) != served.real_of(other)
    assert 2 == len(served.flows)


def test_flows_are_told_apart_by_service(lb):
    """The same client and port on two services are two flows."""
    lb.add_service("10.0.0.80:80", reals=[A], scheduler="rr")
    lb.add_service("10.0.0.80:443", reals=[B], scheduler="rr")

    for dport in (80, 443):
        lb.send(packets.syn(dport=dport))

    assert [("NEW", A), ("NEW", B)] == lb.flows
    assert (A, B) == (lb.real_of(packets.ack(dport=80)), lb.real_of(packets.ack(dport=443)))


# SYNs.


def test_repeated_syn_follows_its_record(served):
    """A retransmitted SYN reaches the same real, and begins no second flow."""
    real = served.real_of(SYN)

    assert [real] * 3 == [served.real_of(SYN) for _ in range(3)]
    assert 1 == served.stats(real)["flows"]


@pytest.mark.parametrize("history", [[SYN, ACK], [SYN, ACK, FIN], [SYN, RST]])
def test_syn_on_a_used_record_starts_afresh(served, history):
    """A SYN from a port that is used again begins a new flow, which replaces the old record."""
    before, *_ = [served.real_of(frame) for frame in history]

    after = served.real_of(SYN)

    assert {A, B} == {before, after}
    assert [("NEW", after)] == served.flows


def test_syn_ack_and_syn_rst_open_nothing(served):
    """Only a SYN alone opens a flow."""
    for flags in ("SA", "SR", "SRA"):
        frame = packets.tcp(flags)
        assert (XDP_PASS, frame) == served.send(frame)
    assert {"pass_no_flow": 3} == served.counted
    assert [] == served.flows


@pytest.mark.parametrize("frame", [ACK, FIN, RST, packets.tcp(""), packets.tcp("PA", payload=b"x")])
def test_midstream_without_record_goes_up(served, frame):
    """With turns, the real of an unknown connection is not known: the kernel resets it."""
    assert (XDP_PASS, frame) == served.send(frame)
    assert {"pass_no_flow": 1} == served.counted
    assert [] == served.flows


# Time.


@pytest.mark.parametrize(
    ("history", "timeout_s"),
    [([SYN], 60), ([SYN, ACK], 900), ([SYN, ACK, FIN], 120), ([SYN, RST], 120)],
)
def test_tcp_records_expire(served, history, timeout_s):
    """Idle times are IPVS's: SYN 60 s, established 900 s, closing 120 s."""
    for frame in history:
        served.send(frame)

    served.pass_time(timeout_s - 5)
    assert 1 == len(served.flows)

    served.pass_time(10)
    assert [] == served.flows
    assert XDP_PASS == served.send(ACK)[0]


@pytest.mark.parametrize("datagrams", [1, 2])
def test_udp_records_expire(lb, datagrams):
    """UDP's idle time is 300 s, as IPVS's."""
    lb.add_service(reals=[A, B], scheduler="rr", udp=True)
    before, *_ = [lb.real_of(packets.udp()) for _ in range(datagrams)]

    lb.pass_time(295)
    kept = lb.real_of(packets.udp())
    lb.pass_time(305)

    assert before == kept
    assert [] == lb.flows
    assert before != lb.real_of(packets.udp())


def test_timeouts_are_set_while_packets_flow(served):
    """New idle times count for old records too."""
    served.establish()
    served.set_timeouts(tcp=20, tcpfin=10, udp=5)

    served.pass_time(15)
    assert 1 == len(served.flows)

    served.pass_time(10)
    assert [] == served.flows


@pytest.mark.parametrize(
    ("history", "state"),
    [([SYN], "NEW"), ([SYN, ACK], "ESTABLISHED"), ([SYN, RST], "CLOSING")],
    ids=["new", "established", "closing"],
)
@pytest.mark.parametrize("ticks_left", [1, 0])
def test_a_record_is_alive_until_the_very_tick(served, history, state, ticks_left):
    """A record lives as many ticks as its timeout says, and not one more."""
    real, *_ = [served.real_of(frame) for frame in history]

    served.pass_ticks(served.timeout(state) - ticks_left)

    assert (real if ticks_left else None) == served.real_of(ACK)


def test_packets_keep_a_flow_alive(served):
    """Idle time counts from the last packet."""
    real = served.establish()

    for _ in range(5):
        served.pass_time(600)
        assert real == served.real_of(ACK)


def test_records_are_told_apart_across_the_clocks_wrap(served):
    """A record's 16-bit tick may be larger than the present one: its age is the difference."""
    real = served.establish()
    word = served.words[served.words != 0][0]
    wrapped = (int(word) & ~0xFFFF) | (served.tick - 600) & 0xFFFF
    served.words[served.words != 0] = wrapped

    assert real == served.real_of(ACK)


# Whose record it is.


def test_record_of_a_removed_real_is_nobodys(served):
    """A flow whose real was removed begins again with its next SYN."""
    real = served.establish()

    served.remove_real(real)

    assert XDP_PASS == served.send(ACK)[0]
    assert {A, B} - {real} == {served.real_of(SYN)}


def test_record_that_names_another_services_real_is_not_followed(lb):
    """If another service's real has the index now, the record is not followed."""
    lb.add_service("10.0.0.80:443", reals=[C], scheduler="rr")
    foreign = lb.index(C)
    lb.add_service("10.0.0.80:80", reals=[A, B], scheduler="rr")
    lb.establish()
    word = int(lb.words[lb.words != 0][0])

    lb.words[lb.words != 0] = (word & ~(0xFFFF << 16)) | foreign << 16

    assert XDP_PASS == lb.send(ACK)[0]
    assert lb.real_of(SYN) in (A, B)


@pytest.mark.parametrize("index", [4095, 65535])
def test_record_that_names_no_real_is_not_followed(served, index):
    """A record is not followed if its index has no real or is beyond the table."""
    served.establish()
    word = int(served.words[served.words != 0][0])

    served.words[served.words != 0] = (word & ~(0xFFFF << 16)) | index << 16

    assert XDP_PASS == served.send(ACK)[0]
    assert {"forwarded": 2, "pass_no_flow": 1} == served.counted


# Which record gives way.

OLD, YOUNG = 50, 5  # ticks of idleness
TAG_NOT_EMPTY = 1 << 28  # of 29 bits: bpf/flow.h
LIVE = [("ESTABLISHED", OLD), ("UDP", OLD), ("ESTABLISHED", YOUNG)]


def fill_buckets(lb, records):
    """Put the same eight records, (state, ticks of age), in every bucket."""
    assert 8 == len(records)
    real = lb.index(A)
    for way, (state, age) in enumerate(records):
        tag = TAG_NOT_EMPTY | way
        lb.words[:, way] = lb.make_record(tag, state, real, age) if state else 0


def victim(lb, records):
    """The way that a new flow takes in a bucket of these records."""
    fill_buckets(lb, records)
    before = lb.words.copy()
    lb.send(SYN)
    _, ways = np.nonzero(lb.words != before)
    assert 1 == len(ways), "one record is written"
    return int(ways[0])


@pytest.mark.parametrize("records", range(8))
def test_a_bucket_is_filled_before_anything_gives_way(served, records):
    """While the bucket has room, a new flow takes the first empty entry, even if others are
    expired.
    """
    expired = [("ESTABLISHED", 2000)] * records

    assert records == victim(served, [*expired, *[(None, 0)] * (8 - records)])


@pytest.mark.parametrize(
    ("giving_way", "others"),
    [
        ((None, 0), [*LIVE, ("CLOSING", OLD), ("NEW", OLD), ("UDP_NEW", OLD), ("CLOSING", YOUNG)]),
        (("ESTABLISHED", 2000), [*LIVE, ("CLOSING", 100), ("NEW", OLD), *LIVE[:2]]),
        (("NEW", 100), [*LIVE, ("CLOSING", 110), ("NEW", OLD), *LIVE[:2]]),
        (("CLOSING", 200), [*LIVE, ("NEW", OLD), ("UDP_NEW", 200), *LIVE[:2]]),
        (("CLOSING", YOUNG), [*LIVE, ("NEW", OLD), ("UDP_NEW", OLD), *LIVE[:2]]),
        (("CLOSING", OLD), [*LIVE, ("CLOSING", OLD - 1), ("NEW", OLD), *LIVE[:2]]),
        (("NEW", YOUNG), [*LIVE, *LIVE, ("UDP", 200)]),
        (("NEW", OLD), [*LIVE, ("UDP_NEW", OLD - 1), ("NEW", OLD - 1), *LIVE[:2]]),
        (("UDP_NEW", OLD), [*LIVE, ("UDP_NEW", OLD - 1), ("NEW", OLD - 1), *LIVE[:2]]),
        (("ESTABLISHED", OLD + 1), [*LIVE, *LIVE, ("UDP", OLD)]),
        (("UDP", OLD + 1), [*LIVE, *LIVE, ("ESTABLISHED", OLD)]),
        (("ESTABLISHED", 700), [*LIVE, *LIVE, ("ESTABLISHED", 699)]),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("place", [0, 3, 7])
def test_order_of_victims(served, giving_way, others, place):
    """Empty or expired records are replaced first, then closing, then new, then the
    longest idle.
    """
    records = [*others[:place], giving_way, *others[place:]]

    assert place == victim(served, records)


def test_a_new_flow_takes_its_own_expired_record(served):
    """A flow has one record in its bucket: it reuses its expired one, even if others are empty."""
    served.establish()
    served.pass_time(1000)

    served.send(SYN)

    assert 1 == np.count_nonzero(served.words)


def test_evicted_flow_of_hashed_service_goes_on(lb):
    """In a hashed slot without transition, a flow needs no record."""
    lb.add_service(reals=[A, B])
    real = lb.establish()
    fill_buckets(lb, [("ESTABLISHED", 0)] * 8)

    assert real == lb.real_of(ACK)


# A flood.

TINY = Tunables(max_reals=64, ring_slots=251, flow_buckets=2)


@pytest.fixture
def tiny(balancers):
    """Sixteen records in all: every bucket is soon full."""
    with balancers(TINY).test() as lb:
        lb.add_service(reals=[A, B], scheduler="rr")
        yield lb


def flood(lb, frame, packets_sent):
    for number in range(packets_sent):
        src = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        assert XDP_TX == lb.send(packets.from_client(frame, src, 1024 + number % 60000))[0]


def test_flood_of_syns_evicts_no_established_flow(tiny):
    """A thousand SYNs in two buckets evict no established flow."""
    connections = tiny.connect(6)

    flood(tiny, SYN, 1000)

    assert {} == tiny.moved(connections)
    assert 6 == sum(state == "ESTABLISHED" for state, _ in tiny.flows)


def test_flood_of_datagrams_evicts_no_flow_that_goes_on(balancers):
    """Clients that send one datagram do not evict those that send more."""
    with balancers(TINY).test() as lb:
        lb.add_service(reals=[A, B], scheduler="rr", udp=True)
        talks = [packets.udp(sport=port) for port in range(6)]
        before = [lb.real_of(frame) for frame in talks * 2][:6]

        flood(lb, packets.udp(), 500)

        assert before == [lb.real_of(frame) for frame in talks]


def test_flood_is_forwarded_though_the_table_is_full(tiny):
    """If each bucket has eight established flows, new flows replace the longest idle."""
    connections = tiny.connect(60)

    assert 16 == len(tiny.flows)
    assert {"ESTABLISHED"} == {state for state, _ in tiny.flows}
    assert 60 - 16 == len(tiny.moved(connections))


def test_flood_writes_nothing_in_steady_state(lb):
    """In hashed slots without transition, a flood writes no record."""
    lb.add_service(reals=[A, B])

    flood(lb, SYN, 1000)

    assert 0 == np.count_nonzero(lb.words)
