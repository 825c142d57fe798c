# SPDX-License-Identifier: MIT
"""A run while it goes on: how far it is, and what the machine does in each part of a second."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from xdplb.errors import XdplbError
from xdplb.traffic.machine_load import MachineLoad, Observed

Counts = Mapping[str, int]
_TELL_S = 1.0


@dataclass(frozen=True)
class Sample:
    """A part of a run: its end in seconds since the start, packets by sender, the machine."""

    end_s: float
    sent: Counts
    load: Observed


class Sampler:
    """Looks while its block runs, in a thread of its own.

    `count` says how many packets each sender has ever sent; those that it does not know are left
    out. `tell` is called each second, with the seconds and the packets since the start. Samples are
    taken where `keep` is true, a thousand at most: reading counters takes time of the same cores.
    """

    def __init__(
        self,
        instance: str,
        seconds: float,
        count: Callable[[], Counts],
        tell: Callable[[float, Counts], None] | None,
        *,
        keep: bool,
    ) -> None:
        self.samples: list[Sample] = []
        self.start = time.monotonic()
        self._instance = instance
        self._count = count
        self._tell = tell
        self._every_s = max(0.05, min(1.0, seconds / 40), seconds / 1000) if keep else None
        self._ended = threading.Event()
        self._failed: XdplbError | None = None
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> "Sampler":
        if self._tell or self._every_s:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._failed and error is None:
            raise self._failed

    def _run(self) -> None:
        try:
            self._look_on()
        except XdplbError as error:  # the run itself goes on
            self._failed = error

    def _look_on(self) -> None:
        load, first = MachineLoad(self._instance), self._count()
        before = first
        never = float("inf")
        every_s = self._every_s or never
        next_sample = self.start + every_s
        next_told = self.start + (_TELL_S if self._tell else never)
        while not self._ended.wait(max(0.0, min(next_sample, next_told) - time.monotonic())):
            now, counted = time.monotonic(), self._count()
            if now >= next_sample:
                self.samples.append(Sample(now - self.start, _since(before, counted), load.lap()))
                before, next_sample = counted, now + every_s
            if self._tell and now >= next_told:
                self._tell(now - self.start, _since(first, counted))
                next_told += _TELL_S


def _since(before: Counts, now: Counts) -> Counts:
    return {who: max(0, n - before.get(who, 0)) for who, n in now.items()}
