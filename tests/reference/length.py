# SPDX-License-Identifier: MIT
"""Does the packet fit what came? And frames of several buffers, whose headers are in the first."""

from reference.packet import Packet
from reference.verdict import Verdict, goes_up, is_lost


def check_length(p: Packet) -> None:
    """What is longer than its link takes was merged from several."""
    end = p.at + p.length
    if end > len(p.frame):
        raise is_lost("length")
    if end > p.linear and p.length > p.mtu:
        raise goes_up("merged")


def missing(p: Packet, end: int) -> Verdict:
    """A header, up to `end` of the packet, is in a later buffer, or nowhere."""
    return goes_up("split") if end <= p.length else is_lost("truncated")


def has(p: Packet, end: int) -> bool:
    """Whether the packet has so many bytes, and its first buffer too."""
    return p.length >= end and p.at + end <= p.linear
