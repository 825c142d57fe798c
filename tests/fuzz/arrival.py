# SPDX-License-Identifier: MIT
"""A frame that comes in, and the message if program and reference disagree about it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reference.verdict import XDP_DROP, Verdict
from scapy import all as scapy

RUN = re.compile("x{16,}")


@dataclass(frozen=True)
class Disagreement:
    """The action, the counters that moved, and the frame, for each side."""

    expected: tuple[int, dict[str, int], bytes]
    got: tuple[int, dict[str, int], bytes]


@dataclass(frozen=True)
class Arrives:
    """A frame comes in by an interface."""

    frame: bytes
    ifindex: int

    def do(self, world: Any) -> Any:
        return world.arrive(self.frame, self.ifindex)

    def __str__(self) -> str:
        return f"by interface {self.ifindex}: {code(self.frame)}"


def code(frame: bytes) -> str:
    """Scapy code that makes the frame; plain bytes if scapy would correct something."""
    raw = f'Ether(bytes.fromhex("{frame.hex()}"))'
    try:
        written = str(scapy.Ether(frame).command())
        same = bytes(eval(written, vars(scapy))) == frame  # scapy wrote it, from our own bytes
    except Exception:  # it stumbles over some of what we make
        return raw
    if not same:
        return f"{raw}  # {written}"
    return RUN.sub(lambda run: f"' + b'x' * {len(run[0])} + b'", written)


class Judge:
    """Compares each frame's result with the expected one: action, counters and frame."""

    def __init__(self, counters: Sequence[str], read: Callable[[], list[int]]) -> None:
        """counters: their names, in the order in which `read` reads them."""
        self.counters = counters
        self._read = read
        self._number = {name: number for number, name in enumerate(counters)}

    def begin(self) -> None:
        """Count from here."""
        self._expected = self._read()

    def judge(
        self, frame: bytes, verdict: Verdict, action: int, sent: bytes
    ) -> Verdict | Disagreement:
        """Returns: the verdict, if the result agrees. A dropped frame's bytes are not compared."""
        expected, counted = self._expected, self._read()
        expected[self._number[verdict.counter]] += 1
        wanted = verdict.frame or frame
        same = action == verdict.action and (action == XDP_DROP or sent == wanted)
        if same and counted == expected:
            return verdict
        expected[self._number[verdict.counter]] -= 1
        pairs = zip(self.counters, counted, expected, strict=True)
        moved = {name: now - before for name, now, before in pairs if now != before}
        self._expected = counted
        return Disagreement((verdict.action, {verdict.counter: 1}, wanted), (action, moved, sent))
