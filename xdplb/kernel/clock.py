# SPDX-License-Identifier: MIT
"""The program's clock: ticks of about a second, 2^shift jiffies (bpf/verdict.h, tick_now()).

The kernel tells nobody its jiffies; but a program of two instructions, run by BPF_PROG_TEST_RUN,
returns them. HZ it tells as the resolution of its coarse clocks, which is TICK_NSEC
(posix_get_coarse_res(), kernel/time/posix-timers.c), as exact and as free as can be.
"""

import math
import os
import time
from dataclasses import dataclass

from xdplb.kernel import libbpf

_JIFFIES = bytes.fromhex("85000000760000009500000000000000")  # call bpf_jiffies64; exit
_SOME_FRAME = bytes(64)
_CLOCK_MONOTONIC_COARSE = 6  # include/uapi/linux/time.h; Python's time has no name for it


@dataclass(frozen=True)
class Clock:
    """The length of a tick on this kernel."""

    hz: int

    @property
    def shift(self) -> int:
        """A tick is 2^shift jiffies: the power of two that is nearest to a second."""
        return round(math.log2(self.hz))

    @property
    def tick_s(self) -> float:
        """A tick's length in seconds."""
        return float((1 << self.shift) / self.hz)

    def ticks(self, seconds: int) -> int:
        """A time in ticks, at most as many as a flow's record can hold."""
        return min(0xFFFF, round(seconds / self.tick_s))

    def per_tick(self, per_second: int) -> int:
        """A rate per second as a rate per tick: at least 1, but 0 for 0."""
        return max(1, round(per_second * self.tick_s)) if per_second else 0

    def now(self) -> int:
        """The present tick's low 16 bits, as in a flow's record."""
        return jiffies() >> self.shift & 0xFFFF


def jiffies() -> int:
    """The low 32 bits of the kernel's jiffies."""
    program = libbpf.prog_load(_JIFFIES, "jiffies")
    try:
        return libbpf.prog_test_run(program, _SOME_FRAME).action
    finally:
        os.close(program)


def running_clock() -> Clock:
    """The running kernel's clock."""
    return Clock(round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE)))
