# SPDX-License-Identifier: MIT
"""The programs do with random and mutated frames what the reference (tests/reference) says."""

from collections import Counter
from random import SystemRandom

import pytest
from fuzz.programs import PROGRAMS, UNREACHABLE
from fuzz.session import run

pytestmark = [pytest.mark.root, pytest.mark.slow]

FRAMES = 200_000


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_frame_ends_as_the_reference_says(program):
    """Action, counter, frame, flows and statistics agree, and every counter is reached."""
    counted = Counter()
    with PROGRAMS[program]() as world:
        for each in run(world, SystemRandom().getrandbits(32), 0, FRAMES):
            counted += each
        counters = set(world.counters)

    assert set() == counters - counted.keys() - UNREACHABLE.keys()
