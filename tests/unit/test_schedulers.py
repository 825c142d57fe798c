# SPDX-License-Identifier: MIT
import hashlib
import subprocess
import sys
from math import gcd

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xdplb.errors import TableFull, UsageError
from xdplb.model import schedulers
from xdplb.model.address import parse_address
from xdplb.model.schedulers import SCHEDULERS, Pick, Ring, mh, sh, wrr
from xdplb.model.schedulers.siphash import hsiphash_1u32
from xdplb.model.service import MAX_WEIGHT, Protocol, Real, Service, ServiceKey

KEY = ServiceKey(Protocol.TCP, parse_address("192.168.2.100"), 80)

weights_of = st.lists(st.integers(0, 5) | st.integers(0, MAX_WEIGHT), min_size=0, max_size=12)
few_weights = st.lists(st.integers(0, 4), min_size=1, max_size=12)
v4 = st.ip_addresses(v=4)
ports = st.integers(0, 65535)


def make(scheduler, *weights, flags=(), last=()):
    """A service with reals 10.0.0.1, 10.0.0.2, … in that order of addition."""
    lasting = [*last, *(weight or 1 for weight in weights[len(last) :])]
    reals = [
        Real(parse_address(f"10.0.{n >> 8}.{n & 255}"), weight, before)
        for n, (weight, before) in enumerate(zip(weights, lasting, strict=True), 1)
    ]
    return Service(KEY, scheduler, frozenset(flags), reals=tuple(reals))


def owners(service, ring_slots=4093):
    return SCHEDULERS[service.scheduler].fill(service, ring_slots).owners.tolist()


def digest(table):
    return hashlib.sha256(" ".join(map(str, table)).encode()).hexdigest()[:16]


# The registry.


def test_pick_values_are_those_of_types_h():
    """The kinds of pick have the numbers of C's enum."""
    assert {"TURN": 0, "MH": 1, "SH": 2} == {pick.name: pick.value for pick in Pick}


def test_unknown_scheduler_is_refused_with_the_valid_ones():
    """The message for an unknown name has the valid ones."""
    with pytest.raises(UsageError, match=r"unknown scheduler 'lc'; choose one of rr, wrr, mh, sh"):
        schedulers.get_scheduler("lc")


def test_flags_of_another_scheduler_are_refused():
    """A flag belongs to one scheduler; the message names those of this one."""
    schedulers.check_flags(SCHEDULERS["mh"], {"mh-port", "mh-fallback"})
    with pytest.raises(UsageError, match=r"no flag 'mh-port'; choose from sh-port, sh-fallback"):
        schedulers.check_flags(SCHEDULERS["sh"], {"mh-port"})
    with pytest.raises(UsageError, match=r"no flag 'mh-port'; give none"):
        schedulers.check_flags(SCHEDULERS["rr"], {"mh-port"})


def test_names_and_flags_cost_no_numpy():
    """Importing the registry and the configuration does not import numpy (0.1 s)."""
    code = "import xdplb.model.toml_file, sys; print('numpy' in sys.modules)"
    assert "False\n" == subprocess.check_output([sys.executable, "-c", code], text=True)


@pytest.mark.parametrize("name", SCHEDULERS)
@given(weights_of)
@settings(max_examples=30, deadline=None)
def test_only_reals_with_weight_own_slots(name, weights):
    """A ring has a slot exactly if some real has weight, and drained reals own none."""
    ring = SCHEDULERS[name].fill(make(name, *weights), 509)

    assert any(weights) == bool(len(ring.owners))
    assert (np.uint32, np.bool_) == (ring.owners.dtype, ring.reselect.dtype)
    assert ring.owners.shape == ring.reselect.shape
    assert not ring.reselect.any()
    assert all(weights[owner] > 0 for owner in ring.owners)
    assert len(ring.owners) <= 509


@pytest.mark.parametrize("name", ["rr", "wrr", "mh"])
def test_more_reals_than_slots_are_refused(name):
    """Each real needs a slot. The message says what is missing."""
    with pytest.raises(TableFull, match="has 252 reals for a ring of 251 slots"):
        SCHEDULERS[name].fill(make(name, *[1] * 252), 251)


# rr and wrr.


def test_rr_begins_with_the_real_added_last():
    """IPVS adds at the head of its list: rs1, then rs2 added give rs2 rs1 rs2 rs1."""
    names = ["rs1", "rs2"]
    assert "rs2 rs1 rs2 rs1" == " ".join([names[n] for n in owners(make("rr", 1, 1))] * 2)


def test_rr_ignores_weights_but_0():
    """Round robin gives one slot to each real that is not drained."""
    assert [3, 1, 0] == owners(make("rr", 7, 1, 0, 300))


def test_wrr_sinks_from_the_largest_weight():
    """Weights 4, 3, 2 give ip_vs_wrr's AABABCABC (here added in reverse, so C is first)."""
    assert list("AABABCABC") == ["CBA"[owner] for owner in owners(make("wrr", 2, 3, 4))]


def naive_wrr(service, turns):
    """The first turns of ip_vs_wrr_schedule() from a fresh mark."""
    reals = [(n, real.weight) for n, real in reversed(list(enumerate(service.reals)))]
    step = gcd(*(weight for _, weight in reals)) or 1
    top = max(weight for _, weight in reals) - (step - 1)
    level, chosen = top, []
    while len(chosen) < turns:
        chosen += [n for n, weight in reals if weight >= level]
        level = level - step if level - step > 0 else top
    return chosen[:turns]


@given(few_weights.filter(any))
@settings(max_examples=100, deadline=None)
def test_wrr_is_one_full_cycle_of_ipvs(weights):
    """Walking the ring twice gives IPVS's sequence."""
    service = make("wrr", *weights)
    ring = owners(service)

    assert sum(weights) // gcd(*weights) == len(ring)
    assert naive_wrr(service, 2 * len(ring)) == ring * 2


@given(st.lists(st.integers(1, MAX_WEIGHT), min_size=1, max_size=200), st.sampled_from([251, 4093]))
@example([100, 30, 1, 1, 1], 5)  # lifting the small ones makes the second one small
@settings(max_examples=100, deadline=None)
def test_wrr_scales_in_proportion(weights, slots):
    """Turns fit, are at least 1, in the weights' order, and within one of a fair share."""
    turns = wrr.scale(weights, slots)
    by_weight = sorted(zip(weights, turns, strict=True))

    assert sum(turns) <= slots
    assert min(turns) >= 1
    assert sorted(turns) == [turn for _, turn in by_weight]
    if min(weights) * slots >= sum(weights):  # nobody was lifted to one slot
        shares = [weight * sum(turns) / sum(weights) for weight in weights]
        assert all(abs(share - turn) < 1 for share, turn in zip(shares, turns, strict=True))


# mh.


def test_hsiphash_of_the_kernels_test_vector():
    """The fifth 64-bit vector of the kernel's lib/test_siphash.c."""
    assert 0x88D38328 == hsiphash_1u32(0x03020100, (0x0706050403020100, 0x0F0E0D0C0B0A0908))


@given(st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=20))
def test_hsiphash_of_an_array_is_that_of_its_words(words):
    """Arrays are hashed word by word."""
    expected = [hsiphash_1u32(word, mh.SKIP_KEY) for word in words]
    assert expected == hsiphash_1u32(np.array(words, dtype=np.uint64), mh.SKIP_KEY).tolist()


def naive_mh(service, positions, ring_slots):
    """ip_vs_mh_permutate() and ip_vs_mh_populate(), line by line, for reals in list order."""
    weights = [service.reals[n].weight or service.reals[n].last_weight for n in positions]
    step = gcd(*weights)
    bits = (mh.PRIMES.index(ring_slots) + 8) // 2
    shift = max(0, (max(weights) // step).bit_length() - bits)
    turns = [((weight // step) >> shift) or 1 for weight in weights]
    at, skip = [], []
    for n in positions:
        word = (int(service.reals[n].address) + service.key.port) & 0xFFFFFFFF
        at.append(hsiphash_1u32(word, (2654435761, 2654435761)) % ring_slots)
        skip.append(hsiphash_1u32(word, (2654446892, 2654446892)) % (ring_slots - 1) + 1)
    table, claimed = [None] * ring_slots, 0
    while True:
        for i, n in enumerate(positions):
            for _ in range(turns[i]):
                while table[at[i]] is not None:
                    at[i] = (at[i] + skip[i]) % ring_slots
                table[at[i]] = n
                claimed += 1
                if claimed == ring_slots:
                    return table


@given(
    st.dictionaries(v4, st.integers(0, 3) | st.integers(0, MAX_WEIGHT), min_size=1, max_size=60),
    ports,
    st.sampled_from([251, 509, 4093]),
)
@settings(max_examples=80, deadline=None)
def test_mh_table_is_that_of_the_naive_reference(weights, port, ring_slots):
    """The fast table equals the kernel's loop, for any addresses, port and weights."""
    reals = tuple(Real(address, weight, weight or 1) for address, weight in weights.items())
    service = Service(ServiceKey(Protocol.TCP, KEY.vip, port), "mh", reals=reals)
    serving = [n for n in reversed(range(len(reals))) if reals[n].weight]
    expected = naive_mh(service, serving, ring_slots) if serving else []

    assert expected == owners(service, ring_slots)


@pytest.mark.parametrize("weights", [[1] * 251, [1] * 1000, [*range(1, 120)], [MAX_WEIGHT, 1]])
def test_mh_large_tables_too(weights):
    """It does so too with many reals, weights and slots."""
    service = make("mh", *weights)
    slots = 251 if len(weights) == 251 else 16381

    assert naive_mh(service, [*reversed(range(len(weights)))], slots) == owners(service, slots)


@pytest.mark.parametrize(
    ("ring_slots", "known"),
    [
        (251, "495befe0effaf51f"),
        (4093, "6ce2d76370d00b60"),
        (65521, "17dc14d76b27ce3e"),
        (131071, "4a8a3e2fa362b55b"),
    ],
)
def test_mh_table_of_the_kernels_own_code(ring_slots, known):
    """Linux 6.1's ip_vs_mh.c, compiled with stubs, gave these tables (sha256) for these reals.

    Their last weights are 1, 3, 700, 12, 65535, the fourth is drained, the port is 80.
    """
    weights = [1, 3, 700, 0, 65535]
    service = make("mh", *weights, flags={"mh-fallback"}, last=[1, 3, 700, 12, 65535])
    ring = SCHEDULERS["mh"].fill(service, ring_slots)
    table = mh.populate(service, [4, 3, 2, 1, 0], ring_slots)

    assert known == digest(table.tolist())
    assert (table == 3).tolist() == ring.reselect.tolist()
    assert table[~ring.reselect].tolist() == ring.owners[~ring.reselect].tolist()


def test_mh_last_resort_is_the_table_without_the_drained():
    """A marked slot's owner is the one that it would have without the drained reals."""
    service = make("mh", 1, 0, 2, 0, flags={"mh-fallback"}, last=[1, 5, 2, 1])
    ring = SCHEDULERS["mh"].fill(service, 4093)
    without = np.array(owners(make("mh", 1, 0, 2, 0)))

    assert (5 + 1) / 9 == pytest.approx(ring.reselect.mean(), abs=0.01)
    assert without[ring.reselect].tolist() == ring.owners[ring.reselect].tolist()


def test_mh_drains_by_last_weight():
    """With mh-fallback, draining a real moves no client of another real."""
    flags = {"mh-fallback"}
    before = SCHEDULERS["mh"].fill(make("mh", 3, 5, 2, flags=flags), 4093)
    after = SCHEDULERS["mh"].fill(make("mh", 3, 0, 2, flags=flags, last=[3, 5, 2]), 4093)

    assert (before.owners == 1).tolist() == after.reselect.tolist()
    assert before.owners[before.owners != 1].tolist() == after.owners[~after.reselect].tolist()


def test_ring_slots_must_be_a_prime_of_the_kernel():
    """Another size is refused, naming the valid ones."""
    with pytest.raises(UsageError, match=r"ring_slots 4096 .* choose one of 251, .*, 131071"):
        mh.fill(make("mh", 1), 4096)


# sh.


def test_sh_gives_runs_by_weight():
    """Weight w gets w consecutive slots, the last added real first, over and over."""
    assert ([2, 2, 1, 0] * 64) == owners(make("sh", 1, 1, 2))


def naive_sh(service):
    """ip_vs_sh_reassign(), then ip_vs_sh_get_fallback() for the hash value of each slot."""
    order = [*reversed(range(len(service.reals)))]
    table, place, count = [], 0, 0
    for _ in range(256):
        table.append(order[place])
        count += 1
        if count >= service.reals[order[place]].weight:
            place, count = (place + 1) % len(order), 0
    chosen = []
    for first in range(256):
        owner = table[first]
        for offset in range(256):
            if service.reals[owner].weight > 0:
                break
            owner = table[((offset + first) % 256 + first) % 256]
        chosen.append(owner)
    return chosen


@given(few_weights.filter(any))
@settings(max_examples=100, deadline=None)
def test_sh_fallback_is_resolved_as_ipvs_walks(weights):
    """With sh-fallback, each slot holds the real that IPVS's walk finds for its clients."""
    service = make("sh", *weights, flags={"sh-fallback"})
    assert naive_sh(service) == owners(service)


def test_sh_needs_256_slots():
    """A smaller ring is refused."""
    with pytest.raises(TableFull, match="251 slots cannot hold sh's 256"):
        sh.fill(make("sh", 1), 251)


def test_sh_drained_reals_may_fill_the_whole_table():
    """300 drained reals before the usable one leave it no slot, as in IPVS: an empty ring."""
    assert [] == owners(make("sh", 1, *[0] * 300, flags={"sh-fallback"}))


# Which slot and which real a client gets.


@pytest.mark.parametrize(
    ("client", "flags", "slot_mh", "slot_sh"),
    [
        ("192.168.1.200", False, 1163, 139),
        ("192.168.1.200", True, 2622, 47),
        ("2001:db8::1", True, 3517, 226),
    ],
)
def test_slots_of_some_clients(client, flags, slot_mh, slot_sh):
    """Known slots of clients, from source port 40000, with and without the port flag."""
    address = parse_address(client)
    for name, expected in (("mh", slot_mh), ("sh", slot_sh)):
        service = make(name, 1, flags={f"{name}-port"} if flags else ())
        assert expected == schedulers.choose_slot(service, address, 40000, 4093)


def test_turns_have_no_slot_of_a_client():
    """Asking rr for a client's slot is an error."""
    with pytest.raises(UsageError, match="goes by turns"):
        schedulers.choose_slot(make("rr", 1), parse_address("10.9.9.9"), 1, 4093)


def test_reference_clients_get_the_kernels_reals():
    """The kernel's own code chose these reals for these clients with mh-port off and on."""
    reals = tuple(Real(parse_address(f"192.168.2.{n}")) for n in (220, 210))
    clients = ["192.168.1.200", "192.168.1.201", "10.1.2.3", "255.255.255.255"]
    source_ports = [40000, 40000, 5, 65535]
    service = Service(KEY, "mh", frozenset({"mh-port"}), reals=reals)
    ring = SCHEDULERS["mh"].fill(service, 4093)

    assert [0, 0, 0, 1] == [
        schedulers.choose_real(service, ring, parse_address(client), port)
        for client, port in zip(clients, source_ports, strict=True)
    ]


@given(v4, ports, st.lists(st.booleans(), min_size=1, max_size=12).filter(any))
@settings(max_examples=100, deadline=None)
def test_mh_reselects_as_the_kernel_does(client, port, serving):
    """A client of a drained real goes where ip_vs_mh_get_fallback() sends it."""
    weights, last = [2 * up for up in serving], [2] * len(serving)
    service = make("mh", *weights, flags={"mh-port", "mh-fallback"}, last=last)
    table = naive_mh(service, [*reversed(range(len(serving)))], 251)

    def slot(offset):
        word = (int(client) + port + offset) & 0xFFFFFFFF
        return hsiphash_1u32(word, (2654435761, 2654435761)) % 251

    chosen = schedulers.choose_real(service, mh.fill(service, 251), client, port)
    walk = [table[slot(0)], *(table[slot((n + slot(0)) % 251)] for n in range(251))]

    assert serving[chosen]
    assert chosen == next((n for n in walk if serving[n]), chosen)


def test_reselection_ends_at_the_last_resort():
    """After 128 tries the slot's own owner is taken."""
    slots = 251
    ring = Ring(np.arange(slots, dtype=np.uint32), np.ones(slots, dtype=np.bool_))
    client = parse_address("10.1.2.3")

    assert mh.choose_slot(client, 7, slots) == mh.reselect(ring, client, 7)


def test_empty_ring_has_no_real():
    """If all reals are drained, fallback finds none either."""
    service = make("mh", 0, 0, flags={"mh-fallback"})
    ring = SCHEDULERS["mh"].fill(service, 4093)

    assert [] == ring.owners.tolist()
    assert schedulers.choose_real(service, ring, parse_address("10.1.2.3"), 7) is None


@pytest.mark.parametrize("name", ["mh", "sh"])
@given(client=v4, port=ports)
@settings(max_examples=50, deadline=None)
def test_port_counts_only_with_its_flag(name, client, port):
    """Without the port flag, all ports of a client have one slot."""
    plain, flagged = make(name, 1), make(name, 1, flags={f"{name}-port"})

    portless = schedulers.choose_slot(plain, client, port, 4093)
    assert portless == schedulers.choose_slot(flagged, client, 0, 4093)
