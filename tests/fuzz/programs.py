# SPDX-License-Identifier: MIT
"""The programs that are fuzzed, and the counters that frames cannot reach."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from unittest import mock

from balancer import Balancer

from fuzz.session import World
from fuzz.unwrapping import Unwrapping
from fuzz.world import CLOCK, TUNABLES, Directing
from xdplb.kernel import clock

NO_ROOM = "test runs always have headroom; tests/bpf/test_encap.py takes it away"
UNREACHABLE = {
    "drop_headroom": NO_ROOM,
    "drop_no_head": NO_ROOM,
    "pass_no_program": "all programs are there; tests/bpf/test_schedule.py takes one away",
}


@contextmanager
def on_one_cpu() -> Iterator[int]:
    """Stay on one CPU, because each CPU has its own limits and counters. Yields: its number."""
    home = os.sched_getaffinity(0)
    cpu = min(home)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, home)


@contextmanager
def directing() -> Iterator[World]:
    """bpf/xdplb.c."""
    with on_one_cpu() as cpu, Balancer.loaded(TUNABLES, [CLOCK], frags=True) as lb, lb.test():
        world = Directing(lb, cpu)
        with mock.patch.object(clock, "jiffies", world.jiffies):
            yield world


@contextmanager
def unwrapping() -> Iterator[World]:
    """bpf/decap.c."""
    with on_one_cpu() as cpu, Unwrapping.loaded(cpu) as world:
        yield world


PROGRAMS: dict[str, Callable[[], AbstractContextManager[World]]] = {
    "xdplb": directing,
    "decap": unwrapping,
}
