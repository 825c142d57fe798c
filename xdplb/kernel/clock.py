# SPDX-License-Identifier: MIT
"""The program's clock: ticks of about a second, 2^shift jiffies (bpf/verdict.h, tick_now()).

The kernel tells nobody its HZ (config files are not everywhere), nor its jiffies; but a program of
two instructions, run by BPF_PROG_TEST_RUN, returns them.
"""

import math
import os
import time
from dataclasses import dataclass

from xdplb.kernel import libbpf

_JIFFIES = bytes.fromhex("85000000760000009500000000000000")  # call bpf_jiffies64; exit
_SOME_FRAME = bytes(64)
_HZ = (100, 250, 300, 1000)  # kernel/Kconfig.hz
_SAMPLE_S = 0.1  # 25 jiffies or 30: told apart though each end is off by up to one


@dataclass(frozen=True)
class Clock:
    """What a tick is on this kernel."""

    hz: int

    @property
    def shift(self) -> int:
        """A tick is 2^shift jiffies: the power of two nearest to a second."""
        return round(math.log2(self.hz))

    @property
    def tick_s(self) -> float:
        """A tick's length in seconds."""
        return float((1 << self.shift) / self.hz)

    def ticks(self, seconds: int) -> int:
        """A time in ticks, as many as a flow's record can hold at most."""
        return min(0xFFFF, round(seconds / self.tick_s))

    def per_tick(self, per_second: int) -> int:
        """How many a tick are so many a second: at least 1, unless there are none."""
        return max(1, round(per_second * self.tick_s)) if per_second else 0

    def now(self) -> int:
        """The tick, as a flow's record holds it: its low 16 bits."""
        return jiffies() >> self.shift & 0xFFFF


def jiffies() -> int:
    """The kernel's jiffies, their low 32 bits."""
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
