# SPDX-License-Identifier: MIT
"""Packets whose outer checksum is near 0 or 0xffff, where a lost carry shows. Chance rarely makes
such packets.
"""

from random import Random

from reference import gre
from reference.link import IPV4, IPV6
from reference.packet import UDP

TARGETS = (0xFFFE, 0xFFFD, 0xFFFC, 0xFEFF, 0xFDFF, 0xFCFF, 0x0000, 0x0001, 0x0100)
CARRIED = 0xFFFF  # ones' complement counts modulo this


def edge(random: Random, frame: bytes, sent: bytes) -> bytes:
    """A forwarded frame, changed so that the frame that is sent gets such a checksum.

    For IPv4 it is the outer header's checksum, for IPv6 the tunnel's. A frame that is sent without
    this checksum is returned unchanged.
    """
    if frame[12:14] == IPV6:
        return tunnel_edge(frame, sent, random.choice(TARGETS))
    return header_edge(frame, sent, random.choice(TARGETS))


def header_edge(frame: bytes, sent: bytes, target: int) -> bytes:
    """Change TOS and TTL of a frame without tags and with DF (else the outer ID changes too)."""
    if frame[12:14] != IPV4 or not frame[20] & 0x40 or sent[12:14] != IPV4:
        return frame
    check = int.from_bytes(sent[24:26], "big")
    more = (check - target) % CARRIED
    for change in (more, more - CARRIED):
        ttl, tos = divmod((frame[22] << 8) + frame[15] + change, 256)
        if 2 <= ttl <= 255:
            return frame[:15] + bytes([tos]) + frame[16:22] + bytes([ttl]) + frame[23:]
    return frame


def tunnel_edge(frame: bytes, sent: bytes, target: int) -> bytes:
    """Change the last 16 bits of the flow label, which are one word of the checksum."""
    protocol, start = (sent[20], 54) if sent[12:14] == IPV6 else (sent[23], 34)
    place = {UDP: start + 6, gre.PROTOCOL: start + 4}.get(protocol)
    if place is None:
        return frame
    check = int.from_bytes(sent[place : place + 2], "big")
    label = (int.from_bytes(frame[16:18], "big") + check - target) % CARRIED
    return frame[:16] + label.to_bytes(2, "big") + frame[18:]
