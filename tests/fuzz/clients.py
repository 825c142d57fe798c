# SPDX-License-Identifier: MIT
"""Frames that come to a director: clients' conversations with its services, and all others."""

from collections import deque
from random import Random
from typing import NamedTuple

import packets

from fuzz import frames
from fuzz.frames import GRE, ICMP, ICMPV6, IPIP, IPV6, OTHER_PROTOCOLS, TCP, UDP, chance
from fuzz.network import REALS
from xdplb.model.address import parse_address

TALKS = 200  # conversations at the same time
# Sizes near these limits matter: MTUs of paths, less a tunnel's bytes, or those and 20 more.
MTUS = (1280, 1290, 1330, 1380, 1400, 1500, 1500)
ADDED = (0, 20, 24, 28, 32, 40, 44, 48, 52, 60, 64, 68, 72)
STRANGE6 = tuple(
    bytes.fromhex(a.rjust(32, "0") if a[:2] != "ff" else a.ljust(32, "0"))
    for a in ("0", "1", "ff02", "ffffc0a801c8", "c0a801c8")
)
STRANGE = tuple(bytes.fromhex(a) for a in ("00000000", "7f000001", "e0000001", "ffffffff"))


class Talk(NamedTuple):
    """A conversation: the client's end, and the other end."""

    client: bytes
    sport: int
    vip: bytes
    dport: int
    protocol: int


class Clients:
    """Frames to these ends: (address, protocol, port). Some of them are services; port 0 is any."""

    def __init__(self, random: Random, ends: list[tuple[bytes, int, int]]) -> None:
        self.random = random
        self.ends = ends
        self.dips = [parse_address(dip).packed for dip in (packets.DIP, packets.DIP6)]
        self.rips = [parse_address(rip).packed for rip in REALS]
        self.pieces: list[bytes] = []  # fragments that are still to come
        self.old_pieces: deque[bytes] = deque(maxlen=60)
        self.talks: list[Talk] = []
        self.talks += (self._begin() for _ in range(TALKS))

    def _begin(self) -> Talk:
        random = self.random
        vip, protocol, port = random.choice(self.ends)
        strange = STRANGE6 if len(vip) == 16 else STRANGE
        client = random.choice(strange) if chance(random, 1) else random.randbytes(len(vip))
        if chance(random, 20):
            others = [talk.client for talk in self.talks if len(talk.vip) == len(vip)]
            client = random.choice(others or [client])
        dport = port or random.choice((9, 80, random.getrandbits(16)))
        return Talk(client, random.getrandbits(16), vip, dport, protocol)

    def _size(self) -> int:
        """The size of an IP packet, in bytes."""
        random = self.random
        if chance(random, 85):
            return random.randint(20, 100)
        if chance(random, 70):
            return random.choice(MTUS) - random.choice(ADDED) + random.randint(-1, 1)
        return random.randint(100, 3600 if chance(random, 80) else 9050)

    def packet(self) -> bytes:
        """A frame without damage."""
        random = self.random
        number = random.randrange(TALKS)
        if chance(random, 15):
            self.talks[number] = self._begin()
        client, sport, vip, dport, protocol = self.talks[number]
        if chance(random, 5):
            return self._error(self.talks[number])
        if chance(random, 1):
            return self._tells_of_path()
        if self.pieces and chance(random, 30):
            return self._piece()
        if self.old_pieces and chance(random, 5):
            return random.choice(self.old_pieces)
        if chance(random, 4):
            protocol = random.choice((TCP, UDP, *OTHER_PROTOCOLS))
        size, cut_up = self._size(), chance(random, 4)
        if cut_up and chance(random, 30):
            size += random.randint(1400, 3000)
        payload = frames.segment(random, protocol, sport, dport, size)
        payload = frames.summed(random, client, vip, protocol, payload)
        if cut_up:
            cut = frames.pieces(random, client, vip, protocol, payload)
            self.pieces += [frames.on_link(random, piece) for piece in cut]
        return frames.on_link(random, frames.ip(random, client, vip, protocol, payload))

    def _piece(self) -> bytes:
        """The next fragment, or one after it."""
        random, pieces = self.random, self.pieces
        piece = pieces.pop(0 if chance(random, 90) else random.randrange(len(pieces)))
        self.old_pieces.append(piece)
        return piece

    def _error(self, talk: Talk) -> bytes:
        """A router's ICMP about a real's answer. It quotes the answer's ends, seldom others."""
        random = self.random
        payload = frames.segment(random, talk.protocol, talk.dport, talk.sport, self._size())
        source = talk.vip if chance(random, 95) else self._end(talk.vip)
        quoted = frames.ip(random, source, talk.client, talk.protocol, payload)
        if len(source) == 16 and chance(random, 20):  # the real's answer was cut
            head = bytes([talk.protocol]) + frames.fragment_rest(random)
            quoted = frames.ip(random, source, talk.client, frames.FRAGMENT, head + payload)
        return self._told(quoted, talk.vip, random.choice((0, 1400)))

    def _told(self, quoted: bytes, to: bytes, mtu: int) -> bytes:
        """A router's ICMP about a packet."""
        random = self.random
        protocol = ICMPV6 if len(to) == 16 else ICMP
        error = frames.icmp_error(random, quoted, mtu)
        router = random.randbytes(len(to))
        error = frames.summed(random, router, to, protocol, error)
        return frames.on_link(random, frames.ip(random, router, to, protocol, error))

    def _end(self, like: bytes) -> bytes:
        """An address of that family that may be a VIP's."""
        return self.random.choice([end for end, _, _ in self.ends if len(end) == len(like)])

    def _tells_of_path(self) -> bytes:
        """A router's ICMP about a tunnel's packet, from between director and reals."""
        random = self.random
        dip, rip = self.dips[random.random() < 0.5], b""
        while len(rip) != len(dip):
            rip = random.choice(self.rips)
        protocol = random.choice((IPIP, IPIP, IPV6, GRE, UDP, TCP))
        source = dip if chance(random, 95) else random.randbytes(len(dip))
        quoted = frames.ip(random, source, rip, protocol, bytes(80))
        mtu = random.choice((*MTUS, 0, 551, 552, 553, 1200, 1279, 1281, 1440, 65534, 65535))
        return self._told(quoted, dip if chance(random, 95) else self._end(dip), mtu)

    def frame(self) -> bytes:
        """Any frame."""
        random = self.random
        if chance(random, 3):
            return frames.oddity(random)
        frame = self.packet()
        return frames.damage(random, frame) if chance(random, 30) else frame
