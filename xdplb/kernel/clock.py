# SPDX-License-Identifier: MIT
"""The program's clock: ticks of about a second, 2^shift jiffies (bpf/verdict.h, tick_now()).

The kernel has no call that returns HZ or jiffies, and its config file may be missing. But a BPF
program of two instructions returns jiffies; BPF_PROG_TEST_RUN runs it.
"""

import math
import os
import time
from dataclasses import dataclass

from xdplb.kernel import libbpf

_JIFFIES = bytes.fromhex("85000000760000009500000000000000")  # call bpf_jiffies64; exit
_SOME_FRAME = bytes(64)
_HZ = (100, 250, 300, 1000)  # kernel/Kconfig.hz
_SAMPLE_S = 0.1  # 25 jiffies or 30: the difference shows, although each end may be off by one


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


def measure() -> Clock:
    """The running kernel's clock; takes 0.1 s."""
    start, first = time.monotonic(), jiffies()
    time.sleep(_SAMPLE_S)
    rate = (jiffies() - first & 0xFFFFFFFF) / (time.monotonic() - start)
    return Clock(min(_HZ, key=lambda hz: abs(hz - rate)))
