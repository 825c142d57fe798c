# SPDX-License-Identifier: MIT
"""The MTU of the way to a real, learned from routers on it: RFC 1191, and the kernel's bounds."""

from reference.icmp_error import ICMP_HEADER, QUOTED, UNREACHABLE
from reference.ipv4 import DONT_FRAGMENT, HEADER, MORE_FRAGMENTS, OFFSET, fragment_field
from reference.packet import ICMP, UDP, Packet

FRAGMENTATION_NEEDED = bytes((UNREACHABLE, 4))
TUNNELS = (4, 47, UDP)
LIFE = 600  # ticks: net.ipv4.route.mtu_expires
LEAST = 552  # net.ipv4.route.min_pmtu
ANY = 0xFFFF


class Paths:
    """MTU and the tick of learning it, by RIP; of those that are in use."""

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[int, int]] = {}

    def mtu(self, rip: bytes, tick: int) -> int:
        """What was learned of a real in use; after a while larger packets may try again."""
        mtu, since = self.known.get(rip, (ANY, tick - LIFE))
        if tick - since >= LIFE:
            mtu, since = self.known[rip] = ANY, tick
        return mtu

    def learn(self, p: Packet, tick: int) -> None:
        """A packet to an address of ours may be a router's word about what left it in a tunnel."""
        packet = p.frame[p.at :]
        length = packet[2] << 8 | packet[3]
        message = packet[HEADER:]
        whole = len(message) >= ICMP_HEADER + QUOTED <= length - HEADER
        if packet[0] != 0x45 or packet[9] != ICMP or not whole:
            return
        if fragment_field(p) & (MORE_FRAGMENTS | OFFSET) or message[:2] != FRAGMENTATION_NEEDED:
            return
        quoted = message[ICMP_HEADER:]
        df = (quoted[6] << 8 | quoted[7]) & DONT_FRAGMENT
        if quoted[0] != 0x45 or not df or quoted[9] not in TUNNELS or quoted[12:16] != p.vip:
            return
        told, rip = max(LEAST, message[6] << 8 | message[7]), quoted[16:20]
        if rip in self.known:
            mtu, since = self.known[rip]
            if told <= mtu or tick - since >= LIFE:
                self.known[rip] = told, tick
