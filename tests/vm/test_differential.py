# SPDX-License-Identifier: MIT
"""The same packets through IPVS and xdplb: the frames that leave differ only as allowed."""

import os
from collections import Counter
from random import Random

import pytest
from balanced import balance_by_ipvs, balance_by_xdplb, clear_ipvs
from cases import named
from differences import BY_KERNEL, MEANT, compare
from directors import Ipvs
from drawn import drawn
from line import opened
from outcome import by_id
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from ways import SERVICES

pytestmark = pytest.mark.root

PACKETS = 16_000  # random ones
SHOWN = 5


@pytest.fixture(scope="module")
def seed():
    """The seed of the random packets; SEED= repeats them."""
    chosen = int(os.environ.get("SEED", Random().getrandbits(32)))
    print(f"\nSEED={chosen}")
    return chosen


@pytest.fixture(scope="module")
def random_packets(seed):
    """The random packets. Their numbers follow those of the cases."""
    return drawn(Random(seed), PACKETS, len(named()) + 1)


@pytest.fixture(scope="module")
def seen(cluster, xdplb, random_packets):
    """The differences that were found, by the packets' IDs."""
    sent = [*named().values(), *random_packets]
    ipvs, got = Ipvs(cluster), []
    with opened(cluster) as line:
        for begin, end in (
            (lambda: balance_by_ipvs(ipvs, SERVICES), lambda: clear_ipvs(ipvs)),
            (lambda: balance_by_xdplb(xdplb, SERVICES), xdplb.flush),
        ):
            begin()
            got.append(by_id(line.exchange([piece for each in sent for piece in each.pieces])))
            end()
    by_ipvs, by_xdplb = got
    return {each.id: compare(each, by_ipvs[each.id], by_xdplb[each.id]) for each in sent}


def _shown(sent):
    header = {4: IP, 6: IPv6}[sent.header.version]
    return f"{sent.way}: {[header(piece) for piece in sent.pieces]}"


@pytest.mark.parametrize("name", named())
def test_cases(seen, name):
    """Each kind of packet leaves as IPVS sends it."""
    assert set() == seen[named()[name].id] - MEANT


def test_packets_by_lot(seen, seed, random_packets):
    """Thousands of packets of any kind leave as IPVS sends them."""
    wrong = [each for each in random_packets if seen[each.id] - MEANT]
    shown = "\n".join(f"{_shown(each)}: {seen[each.id] - MEANT}" for each in wrong[:SHOWN])

    assert not wrong, f"{len(wrong)} of {PACKETS} with SEED={seed}:\n{shown}"


def test_every_difference_is_met(seen):
    """Every allowed difference is real: each run finds it."""
    counted = Counter(difference for met in seen.values() for difference in met)
    print(counted)

    assert set() == MEANT - BY_KERNEL - counted.keys()
