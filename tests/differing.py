# SPDX-License-Identifier: MIT
"""What pytest shows of frames that differ."""

import contextlib
import difflib
from typing import Any

import packets

from xdplb.kernel import libbpf


def differing_frames(left: Any, right: Any) -> list[str] | None:
    """What pytest shows if two (action, frame) differ: the frames, field by field."""
    if not all(isinstance(side, tuple) and len(side) == 2 for side in (left, right)):
        return None
    if not all(isinstance(side[1], bytes) and len(side[1]) >= 14 for side in (left, right)):
        return None
    lines = ["frames differ: - expected, + got"]
    with contextlib.suppress(Exception):
        shown = [
            [f"action {libbpf.XDP_ACTIONS[action]}", *packets.describe(frame), frame.hex(" ")]
            for action, frame in (left, right)
        ]
        lines += difflib.ndiff(*shown)
    return lines
