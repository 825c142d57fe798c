# SPDX-License-Identifier: MIT
"""Which real a new flow gets, by each scheduler and flag."""

import ctypes
from collections import Counter

import numpy as np
import packets
import pytest
from balancer import ACK, SYN, XDP_DROP, XDP_PASS, XDP_TX

from xdplb.kernel import libbpf
from xdplb.kernel.program_text import enum_values
from xdplb.kernel.tables import elements
from xdplb.model.address import parse_address
from xdplb.model.schedulers import SCHEDULERS, choose_real

pytestmark = pytest.mark.root

A, B, C, D = (f"192.168.0.{n}" for n in range(7, 11))


def turns(lb, flows, first_port=1000):
    """The reals of so many new flows of one client, as letters."""
    names = {A: "A", B: "B", C: "C", D: "D", None: "-"}
    syns = (packets.from_client(SYN, packets.CIP, first_port + n) for n in range(flows))
    return "".join(names[lb.real_of(syn)] for syn in syns)


def chosen(lb, client, port=packets.SPORT):
    """The real that Python's own scheduler gives a client."""
    service = lb.service()
    ring = SCHEDULERS[service.scheduler].fill(service, lb.tunables.ring_slots)
    place = choose_real(service, ring, parse_address(client), port)
    return None if place is None else str(service.reals[place].address)


# By turns.


def test_rr_takes_turns(lb):
    """Round robin begins with the real added last, as IPVS's list does."""
    lb.add_service(reals=[A, B], scheduler="rr")

    assert "BABABABA" == turns(lb, 8)


def test_rr_ignores_weights_but_0(lb):
    """Weights other than 0 count for nothing."""
    lb.add_service(reals=[f"{A} weight=9", f"{B} weight=0", C, f"{D} weight=2"], scheduler="rr")

    assert "DCADCA" == turns(lb, 6)


def test_wrr_follows_weights(lb):
    """Weights 4, 3, 2 give IPVS's sequence AABABCABC, over and over."""
    lb.add_service(reals=[f"{C} weight=2", f"{B} weight=3", f"{A} weight=4"], scheduler="wrr")

    assert "AABABCABC" * 2 == turns(lb, 18)


def test_turns_are_the_services_own(lb):
    """Two services walk their rings independently."""
    lb.add_service("10.0.0.80:80", reals=[A, B], scheduler="rr")
    lb.add_service("10.0.0.80:443", reals=[C, D], scheduler="rr")

    seen = [lb.real_of(packets.syn(sport=n, dport=port)) for n in range(2) for port in (80, 443)]

    assert [B, D, A, C] == seen


def test_packets_of_a_flow_take_no_turn(lb):
    """Only a new flow takes a turn; its packets, its retransmitted SYN and strays do not."""
    lb.add_service(reals=[A, B], scheduler="rr")
    first = lb.real_of(SYN)

    for frame in (SYN, ACK, ACK, packets.ack(sport=7), packets.fin()):
        lb.send(frame)

    assert {A, B} == {first, lb.real_of(packets.syn(sport=8))}


def test_turns_go_on_after_a_change(lb):
    """A real that is added joins the round; drained, it leaves it."""
    lb.add_service(reals=[A, B], scheduler="rr")
    turns(lb, 2)

    lb.add_real(C)
    assert {"A": 2, "B": 2, "C": 2} == Counter(turns(lb, 6, 2000))

    lb.set_weight(B, 0)
    assert {"A": 3, "C": 3} == Counter(turns(lb, 6, 3000))


@pytest.mark.parametrize("scheduler", ["rr", "wrr"])
def test_more_turns_than_the_ring_has_slots(lb, scheduler):
    """The walk goes around its ring without a slip."""
    lb.add_service(reals=[A, B, C], scheduler=scheduler)

    assert "CBA" * 100 == turns(lb, 300)


def test_turns_survive_the_counters_wrap(lb):
    """After 2^32 new flows the walk goes on."""
    lb.add_service(reals=[A, B], scheduler="rr")
    walks = elements(lb.tables.director[0].turns)
    walks[lb.state.allocated.id_of(lb.key)].next = (1 << 32) - 2

    assert "BABA" == turns(lb, 4)


# By the client's hash.


def test_mh_sends_the_kernels_clients_to_the_kernels_reals(lb):
    """Linux's own ip_vs_mh.c chose these reals, with mh-port, for port 80."""
    lb.add_service("192.168.2.100:80", reals=["192.168.2.220", "192.168.2.210"], flags=["mh-port"])
    clients = [("192.168.1.200", 40000), ("192.168.1.201", 40000), ("10.1.2.3", 5)]
    syn = packets.syn(dst="192.168.2.100")

    seen = [
        lb.real_of(packets.from_client(syn, *client))
        for client in [*clients, ("255.255.255.255", 65535)]
    ]

    assert ["192.168.2.220"] * 3 + ["192.168.2.210"] == seen


@pytest.mark.parametrize("scheduler", ["mh", "sh"])
@pytest.mark.parametrize("flag", [False, True], ids=["address", "address and port"])
def test_hashed_choice_is_pythons(lb, scheduler, flag):
    """The program and the control plane's own function agree on each of many clients."""
    flags = [f"{scheduler}-port"] if flag else []
    lb.add_service(reals=[A, f"{B} weight=3", C, f"{D} weight=0"], scheduler=scheduler, flags=flags)
    random = np.random.default_rng(7)

    for address, port in random.integers(0, [2**32, 2**16], (300, 2)).tolist():
        client = str(parse_address("0.0.0.0") + address)
        frame = packets.from_client(SYN, client, port)

        assert chosen(lb, client, port) == lb.real_of(frame)


@pytest.mark.parametrize("scheduler", ["mh", "sh"])
def test_without_port_flag_a_client_has_one_real(lb, scheduler):
    """All of a client's ports have one real."""
    lb.add_service(reals=[A, B, C, D], scheduler=scheduler)

    assert 1 == len(set(turns(lb, 50)))


@pytest.mark.parametrize("scheduler", ["mh", "sh"])
def test_with_port_flag_a_clients_ports_spread(lb, scheduler):
    """With the flag each connection is placed by itself."""
    lb.add_service(reals=[A, B, C, D], scheduler=scheduler, flags=[f"{scheduler}-port"])

    assert 4 == len(set(turns(lb, 50)))


def test_mh_drained_real_has_no_slots(lb):
    """Without mh-fallback, a drained real's slots are the others'."""
    lb.add_service(reals=[A, f"{B} weight=0"])

    assert {A} == set(lb.connect().values())
    assert lb.index(B) not in lb.ring()["real"]


def test_mh_fallback_hashes_again(lb):
    """With mh-fallback, only the drained real's clients move, and each by its own hash."""
    lb.add_service(reals=[A, B, C, D], flags=["mh-port", "mh-fallback"])
    before = {port: lb.real_of(packets.syn(sport=port)) for port in range(1, 200)}
    lb.set_weight(B, 0)

    after = {port: lb.real_of(packets.syn(sport=port)) for port in before}

    assert {port for port, real in before.items() if real == B} == {
        port for port in before if before[port] != after[port]
    }
    assert after == {port: chosen(lb, packets.CIP, port) for port in before}
    assert {A, C, D} == {after[port] for port in before if before[port] == B}


def test_without_its_program_a_rare_packet_goes_up(lb):
    """A packet that needs the program for rare kinds passes as it came while that is gone."""
    lb.add_service(reals=[A, B], flags=["mh-port", "mh-fallback"])
    lb.set_weight(B, 0)
    frames = [packets.syn(tags=(packets.vlan(5),), sport=port) for port in range(1, 50)]
    libbpf.map_delete(lb.tables.programs.fd, ctypes.c_uint32(0))
    try:
        ends = [(frame, lb.send(frame)) for frame in frames]
    finally:
        lb.tables.put_programs(lb.program.kinds)

    passed = [frame for frame, end in ends if end == (XDP_PASS, frame)]
    assert 0 < len(passed) < len(frames)
    assert {"forwarded": len(frames) - len(passed), "pass_no_program": len(passed)} == lb.counted


@pytest.mark.parametrize("one_packet", [False, True])
def test_mh_fallback_hashes_again_for_udp(lb, one_packet):
    """A UDP service has mh-fallback as a TCP service has it."""
    lb.add_service(
        reals=[A, B, C, D], flags=["mh-port", "mh-fallback"], udp=True, one_packet=one_packet
    )
    lb.set_weight(B, 0)

    for port in range(1, 100):
        assert chosen(lb, packets.CIP, port) == lb.real_of(packets.udp(sport=port))


def test_mh_fallback_ends_at_the_last_resort(lb):
    """If no try finds a slot that serves, the owner in the table without the drained ones does."""
    lb.add_service(reals=[A, B], flags=["mh-fallback"])
    reselect = enum_values("slot_flag")["SLOT_RESELECT"]
    ring = lb.ring().copy()
    ring["flags"] |= reselect
    lb.tables.write_ring(lb.state.allocated.id_of(lb.key), ring.tobytes())

    assert chosen(lb, packets.CIP) == lb.real_of(SYN)


def test_sh_fallback_walks_as_ipvs(lb):
    """With sh-fallback a drained real's slots are resolved as IPVS's walk does."""
    lb.add_service(reals=[A, B, C], scheduler="sh", flags=["sh-port", "sh-fallback"])
    lb.set_weight(C, 0)

    seen = [lb.real_of(packets.syn(sport=port)) for port in range(1, 100)]

    assert {A, B} == set(seen)
    assert [chosen(lb, packets.CIP, port) for port in range(1, 100)] == seen


def test_hashed_midstream_needs_no_record(lb):
    """A connection that began elsewhere, behind an equal director, is carried on."""
    lb.add_service(reals=[A, B, C])

    assert chosen(lb, packets.CIP) == lb.real_of(ACK)
    assert [] == lb.flows


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "mh", "sh"])
def test_all_drained_drops_new_flows(lb, scheduler):
    """Nobody to send to: dropped, and counted so."""
    lb.add_service(reals=[f"{A} weight=0", f"{B} weight=0"], scheduler=scheduler)

    assert XDP_DROP == lb.send(SYN)[0]
    assert {"drop_no_real": 1} == lb.counted


# UDP.


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "mh", "sh"])
def test_udp_flows_keep_their_real(lb, scheduler):
    """UDP's flows are recorded from the first datagram, whatever the scheduler."""
    lb.add_service(reals=[A, B], scheduler=scheduler, udp=True)
    datagrams = [packets.udp(sport=port) for port in range(30)]
    before = [lb.real_of(frame) for frame in datagrams]

    lb.add_real(C)

    assert before == [lb.real_of(frame) for frame in datagrams]
    assert {("UDP", real) for real in before} == set(lb.flows)


def test_one_packet_scheduling_takes_turns_by_packet(lb):
    """With one_packet each datagram is balanced by itself; nothing is recorded."""
    lb.add_service(reals=[A, B], scheduler="rr", udp=True, one_packet=True)
    datagram = packets.udp()

    assert [B, A, B, A] == [lb.real_of(datagram) for _ in range(4)]
    assert [] == lb.flows


@pytest.mark.parametrize("scheduler", ["mh", "sh"])
def test_one_packet_scheduling_by_hash(lb, scheduler):
    """Hashed and one_packet: the client's slot, always, and nothing is recorded."""
    lb.add_service(reals=[A, B], scheduler=scheduler, udp=True, one_packet=True)
    datagram = packets.udp()

    assert {chosen(lb, packets.CIP)} == {lb.real_of(datagram) for _ in range(4)}
    assert [] == lb.flows


def test_one_packet_scheduling_is_followed_by_records(lb):
    """Turned off, flows are recorded again."""
    lb.add_service(reals=[A, B], scheduler="rr", udp=True, one_packet=True)

    lb.edit_service(one_packet=False)

    assert 1 == len({lb.real_of(packets.udp()) for _ in range(4)})


# Rings in the tables.


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "mh", "sh"])
def test_rings_hold_what_the_scheduler_says(lb, scheduler):
    """The ring in the table is the scheduler's cycle, over and over."""
    lb.add_service(reals=[A, f"{B} weight=3", C], scheduler=scheduler)
    owners = SCHEDULERS[scheduler].fill(lb.service(), lb.tunables.ring_slots).owners
    indices = np.array([lb.index(str(real.address)) for real in lb.service().reals])

    ring = lb.ring()

    assert np.resize(indices[owners], lb.tunables.ring_slots).tolist() == ring["real"].tolist()
    assert not ring["previous"].any()
    assert not ring["flags"].any()


def test_slot_of_a_real_that_is_gone_drops(lb):
    """Between two steps of a removal, a slot may name a real that is no more: counted."""
    lb.add_service(reals=[A])
    lb.tables.reals[lb.index(A)].service = 0

    assert XDP_DROP == lb.send(SYN)[0]
    assert {"drop_no_real": 1} == lb.counted


def test_service_without_ring_drops(lb):
    """A service whose ring is not there yet drops, and says so."""
    lb.add_service(reals=[A])
    lb.tables.drop_ring(lb.state.allocated.id_of(lb.key))

    assert XDP_DROP == lb.send(SYN)[0]
    assert {"drop_no_real": 1} == lb.counted


def test_syn_of_a_frame_is_forwarded_whole_by_every_scheduler(lb):
    """Whoever chooses, the frame is the same."""
    for number, scheduler in enumerate(SCHEDULERS):
        lb.add_service(f"10.0.0.{number + 1}:80", reals=[A], scheduler=scheduler)
        syn = packets.syn(dst=f"10.0.0.{number + 1}")

        assert (XDP_TX, packets.ipip(syn, A)) == lb.send(syn)
