# SPDX-License-Identifier: MIT
"""The report of a disagreement: the steps that led to it, and what differs."""

from collections.abc import Sequence
from difflib import unified_diff
from typing import Any

import packets

from fuzz.arrival import Disagreement
from xdplb.kernel.libbpf import XDP_ACTIONS

LAST = 10  # steps
LONGEST = 100  # characters of a line
BYTES = 120  # of a frame, shown


def describe(disagreement: Disagreement) -> str:
    """Expected and got, field by field."""
    sides = []
    for action, counters, frame in (disagreement.expected, disagreement.got):
        fields = [line[:LONGEST] for line in packets.describe(frame)]
        shown = frame[:BYTES].hex(" ")
        sides.append([XDP_ACTIONS[action], str(counters), *fields, f"{len(frame)} bytes", shown])
    return "\n".join(unified_diff(*sides, "expected", "got", lineterm="", n=1))


def tell(steps: Sequence[Any], complaint: str) -> str:
    """The last steps before the disagreement, and the complaint."""
    lines = list(map(str, steps[-LAST:]))
    if len(steps) > LAST:
        lines.insert(0, f"{len(steps)} steps led here, of which the last:")
    return "\n".join([*lines, complaint])
