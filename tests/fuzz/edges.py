# SPDX-License-Identifier: MIT
"""Packets whose outer checksum comes out where carries get lost, which chance rarely does."""

from random import Random

from reference.link import IPV4

TARGETS = (0xFFFE, 0xFFFD, 0xFFFC, 0xFEFF, 0xFDFF, 0xFCFF, 0x0000, 0x0001, 0x0100)
CARRIED = 0xFFFF  # ones' complement counts modulo this


def edge(random: Random, frame: bytes, sent: bytes) -> bytes:
    """A forwarded frame with another TOS and TTL, so that what is sent gets such a checksum.

    With DF and without tags or options; of another frame: itself.
    """
    if frame[12:14] != IPV4 or not frame[20] & 0x40 or sent[12:14] != IPV4:
        return frame
    check = int.from_bytes(sent[24:26], "big")
    more = (check - random.choice(TARGETS)) % CARRIED
    for change in (more, more - CARRIED):
        ttl, tos = divmod((frame[22] << 8) + frame[15] + change, 256)
        if 2 <= ttl <= 255:
            return frame[:15] + bytes([tos]) + frame[16:22] + bytes([ttl]) + frame[23:]
    return frame
