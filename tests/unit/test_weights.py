# SPDX-License-Identifier: MIT
"""Weights as Debian's ipvsadm takes them, to 2^31 - 1, in tables of a few thousand slots."""

import pytest

from xdplb.errors import UsageError
from xdplb.model.address import parse_address
from xdplb.model.schedulers import SCHEDULERS
from xdplb.model.schedulers.mh import turns_by_weight
from xdplb.model.service import MAX_WEIGHT, Protocol, Real, Service, ServiceKey, parse_weight

KEY = ServiceKey(Protocol.TCP, parse_address("192.168.2.100"), 80)


def shares(scheduler, *weights, ring_slots=4093):
    """How many slots each real has."""
    reals = tuple(
        Real(parse_address(f"10.0.0.{n}"), weight, weight) for n, weight in enumerate(weights, 1)
    )
    ring = SCHEDULERS[scheduler].fill(Service(KEY, scheduler, reals=reals), ring_slots)
    owners = ring.owners.tolist()
    return [owners.count(n) for n in range(len(weights))]


@pytest.mark.parametrize("text", ["0", "1", "65536", "2147483647"])
def test_a_weight(text):
    """As many as the kernel's int holds."""
    assert int(text) == parse_weight(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "+1", " 1", "1_0", "٣", "0x1", "2147483648"])
def test_what_is_no_weight(text):
    """It is named, with what can be given."""
    with pytest.raises(UsageError, match=r"weight '.*' will not do; give .* 0, .* 2147483647$"):
        parse_weight(text)


@pytest.mark.parametrize(
    ("weights", "turns"),
    [
        ([65535, 1], [4092, 1]),
        ([MAX_WEIGHT, 1], [4092, 1]),
        ([MAX_WEIGHT, MAX_WEIGHT - 1], [2047, 2046]),
        ([MAX_WEIGHT, 1, 1, 0], [4091, 1, 1, 0]),
        ([1 << 30, 1 << 29], [2, 1]),
    ],
)
def test_wrr_of_huge_weights_fits_the_ring(weights, turns):
    """However large they are: each real with a weight has a turn, and the ring has 4,093 slots."""
    assert turns == shares("wrr", *weights)


def test_sh_of_a_huge_weight():
    """IPVS's table of 256 ends before the real's run does: the others get nothing."""
    assert [0, 256] == shares("sh", 1, MAX_WEIGHT)


@pytest.mark.parametrize(
    ("weights", "turns"),
    [
        ([MAX_WEIGHT, 1], [63, 1]),
        ([MAX_WEIGHT, 1 << 30], [63, 32]),
        ([1 << 30, 1 << 29], [2, 1]),
    ],
)
def test_mh_shifts_weights_as_the_kernel_does(weights, turns):
    """fls(largest / gcd) - 6 bits go, for a table of 4,093; what would be 0 then is 1."""
    assert turns == turns_by_weight(weights, 4093)
