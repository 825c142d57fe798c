# SPDX-License-Identifier: MIT
"""IPv4 (RFC 791)."""

from reference.bounds import check_length
from reference.checksum import checksum
from reference.packet import Packet
from reference.verdict import goes_up, is_lost

HEADER = 20  # without options
DONT_FRAGMENT, MORE_FRAGMENTS, OFFSET = 0x4000, 0x2000, 0x1FFF


def read_addresses(p: Packet) -> None:
    """All that is looked at before the VIP is known."""
    frame, at = p.frame, p.at
    if len(frame) < at + HEADER:
        raise goes_up("truncated")
    p.client = frame[at + 12 : at + 16]
    p.vip = frame[at + 16 : at + 20]


def check_header(p: Packet) -> None:
    """Of a packet to a VIP: lengths must agree; what is used up goes up."""
    frame, at = p.frame, p.at
    header = (frame[at] & 0xF) * 4
    p.length = frame[at + 2] << 8 | frame[at + 3]
    if frame[at] >> 4 != 4 or header < HEADER:
        raise is_lost("malformed")
    if p.length < header:
        raise is_lost("length")
    check_length(p)
    if fragment_field(p) & (MORE_FRAGMENTS | OFFSET):
        p.fragment = "later" if fragment_field(p) & OFFSET else "first"
        p.fragment_id = frame[at + 4 : at + 6] + frame[at + 9 : at + 10]
    if frame[at + 8] <= 1:
        raise goes_up("ttl")
    p.protocol = frame[at + 9]
    p.header, p.options = header, header - HEADER
    p.tos = frame[at + 1]
    p.dont_fragment = bool(fragment_field(p) & DONT_FRAGMENT)


def fragment_field(p: Packet) -> int:
    """Flags and offset."""
    return p.frame[p.at + 6] << 8 | p.frame[p.at + 7]


def header(
    *, tos: int, length: int, id_: bytes, df: bool, ttl: int, protocol: int, src: bytes, dst: bytes
) -> bytes:
    """A header without options."""
    first = bytes((0x45, tos)) + length.to_bytes(2, "big") + id_
    first += bytes((0x40 if df else 0, 0, ttl, protocol))
    return first + checksum(first + src + dst) + src + dst
