# SPDX-License-Identifier: MIT
"""A run: rounds of frames, each compared; and the shortest list of steps to a disagreement."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Protocol

from fuzz.arrival import Disagreement
from fuzz.dice import Dice
from fuzz.report import describe, tell
from xdplb.errors import XdplbError

ROUND = 10_000  # frames
SHRINKING_S = 30.0


class Failed(AssertionError):
    """Program and reference disagree."""


class World(Protocol):
    """A program and its reference."""

    program: str
    counters: list[str]

    def begin(self, random: Random) -> None:
        """Start again with empty tables."""

    def steps(self, random: Random) -> Iterator[Any]:
        """Steps without end: a frame arrives, or something else happens."""

    def arrive(self, frame: bytes, ifindex: int) -> Any:
        """A verdict, or a Disagreement."""

    def check_memory(self) -> str:
        """The differences in what is remembered; "": none."""


def run(world: World, seed: int, first: int, frames: int) -> Iterator[Counter[str]]:
    """Run round after round. Yields: each round's frames by counter. Raises: Failed."""
    done, number = 0, first
    while done < frames:
        wanted = min(ROUND, frames - done)
        yield _run_round(world, seed, number, wanted)
        done += wanted
        number += 1


def _run_round(world: World, seed: int, number: int, frames: int) -> Counter[str]:
    random = Dice(f"{seed}/{number}")
    start = random.getstate()
    counted: Counter[str] = Counter()
    past: list[Any] = []
    arrived = 0
    world.begin(random)
    steps = world.steps(random)
    while arrived < frames:
        step = next(steps)
        past.append(step)
        result = step.do(world)
        if isinstance(result, Disagreement):
            random.setstate(start)
            shortest = shrink(world, random, past)
            raise Failed(_name(world, seed, number) + tell(shortest, describe(result)))
        if result is not None:
            counted[result.counter] += 1
            arrived += 1
    if said := world.check_memory():
        raise Failed(_name(world, seed, number) + tell(past, said))
    return counted


def _name(world: World, seed: int, number: int) -> str:
    return f"again by: make fuzz PROGRAM={world.program} SEED={seed} ROUND={number}\n"


def shrink(world: World, random: Random, past: Sequence[Any]) -> list[Any]:
    """The fewest steps that still end in a disagreement, as far as half a minute finds them."""
    *before, last = past
    end = time.monotonic() + SHRINKING_S
    start = random.getstate()

    def still_fails(steps: Sequence[Any]) -> bool:
        random.setstate(start)
        world.begin(random)
        try:
            for step in steps:
                step.do(world)
        except XdplbError:  # this step needs one that was left out
            return False
        return isinstance(last.do(world), Disagreement)

    if still_fails([]):
        return [last]
    size = len(before)
    while size and time.monotonic() < end:
        at = 0
        while at < len(before) and time.monotonic() < end:
            fewer = before[:at] + before[at + size :]
            if still_fails(fewer):
                before = fewer
            else:
                at += size
        size //= 2
    return [*before, last]
