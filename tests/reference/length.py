# SPDX-License-Identifier: MIT
"""Whether the whole packet came. In frames of several buffers, headers are in the first buffer."""

from reference.packet import Packet
from reference.verdict import Verdict, goes_up, is_lost


def check_length(p: Packet) -> None:
    """A packet that is longer than the link's MTU was merged from several."""
    end = p.at + p.length
    if end > len(p.frame):
        raise is_lost("length")
    if end > p.linear and p.length > p.mtu:
        raise goes_up("merged")


def missing(p: Packet, end: int) -> Verdict:
    """The verdict if a header that ends at `end` is not in the first buffer."""
    return goes_up("split") if end <= p.length else is_lost("truncated")


def has(p: Packet, end: int) -> bool:
    """Whether the packet, and its first buffer, have `end` bytes."""
    return p.length >= end and p.at + end <= p.linear
