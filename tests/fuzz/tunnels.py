# SPDX-License-Identifier: MIT
"""Frames for a real server's unwrapper: tunnelled packets, sound and not, and everything else."""

from random import Random
from socket import inet_aton

from reference.checksum import checksum

from fuzz import frames
from fuzz.frames import IPIP, OTHER_PROTOCOLS, TCP, UDP, chance

VIPS = ["192.168.2.100", "10.0.0.80"]
DIRECTORS = ["192.168.2.200", "192.168.2.201", "10.9.0.0/28"]
SENDERS = ["192.168.2.200", "192.168.2.201", "10.9.0.0", "10.9.0.15"]
RIP = inet_aton("192.168.2.220")
STRANGERS = [*SENDERS, "192.168.2.202", "10.9.0.16", "0.0.0.0"]


def inner_packet(random: Random) -> bytes:
    """What a client sent."""
    protocols = (TCP, TCP, UDP) if chance(random, 85) else OTHER_PROTOCOLS
    protocol = random.choice(protocols)
    vip = inet_aton(random.choice(VIPS) if chance(random, 96) else "10.0.0.81")
    size = random.randint(20, 100) if chance(random, 95) else random.randint(100, 3300)
    payload = frames.segment(random, protocol, random.getrandbits(16), 80, size)
    return frames.ipv4(random, random.randbytes(4), vip, protocol, payload)


def tunnelled(random: Random) -> bytes:
    """A director's packet. The inner one may be damaged, or have bytes behind it."""
    inner = inner_packet(random)
    if chance(random, 15):
        inner = frames.damage(random, frames.MACS + frames.IPV4 + inner)[14:]
    director = inet_aton(random.choice(SENDERS if chance(random, 97) else STRANGERS))
    protocol = IPIP if chance(random, 96) else random.choice((TCP, UDP, *OTHER_PROTOCOLS))
    return frames.ipv4(random, director, RIP, protocol, inner)


def mend_checksum(frame: bytes) -> bytes:
    """The frame with a right checksum in its first IP header, of 20 bytes."""
    at = frames.start_of_ip(frame)
    if len(frame) < at + 20:
        return frame
    right = checksum(frame[at : at + 10] + bytes(2) + frame[at + 12 : at + 20])
    return frame[: at + 10] + right + frame[at + 12 :]


def frame(random: Random) -> bytes:
    """Any frame."""
    if chance(random, 3):
        return frames.oddity(random)
    made = frames.on_link(random, tunnelled(random))
    if chance(random, 30):
        made = frames.damage(random, made)
        if chance(random, 60):
            made = mend_checksum(made)
    return made
