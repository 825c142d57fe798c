# SPDX-License-Identifier: MIT
"""The MTU of the way to a real, learned from routers: RFC 1191, RFC 8201, the kernel's bounds."""

from reference.icmp_error import HEADER6, ICMP_HEADER, QUOTED, QUOTED6, TOO_BIG6, UNREACHABLE
from reference.ipv4 import DONT_FRAGMENT, HEADER, MORE_FRAGMENTS, OFFSET, fragment_field
from reference.packet import ICMP, ICMPV6, UDP, Packet

FRAGMENTATION_NEEDED = bytes((UNREACHABLE, 4))
TUNNELS = (4, 41, 47, UDP)
LIFE = 600  # ticks: net.ipv4.route.mtu_expires
LEAST = 552  # net.ipv4.route.min_pmtu
LEAST6 = 1280
ANY = 0xFFFF


class Paths:
    """The MTU, and the tick when it was learned, by RIP. Only for reals that are in use."""

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[int, int]] = {}

    def mtu(self, rip: bytes, tick: int) -> int:
        """The learned MTU of a real in use. It is forgotten after LIFE ticks."""
        mtu, since = self.known.get(rip, (ANY, tick - LIFE))
        if tick - since >= LIFE:
            mtu, since = self.known[rip] = ANY, tick
        return mtu

    def learn(self, p: Packet, tick: int) -> None:
        """A packet to one of our addresses may be a router's ICMP about a tunnel's packet."""
        said = hear_ipv6(p) if p.is_ipv6 else hear_ipv4(p)
        if said is None:
            return
        rip, told = said
        if rip in self.known and told < ANY:
            mtu, since = self.known[rip]
            if told <= mtu or tick - since >= LIFE:
                self.known[rip] = told, tick


def hear_ipv4(p: Packet) -> tuple[bytes, int] | None:
    """Frag-needed: the real, and the MTU of its way."""
    packet = p.frame[p.at : p.linear]
    length = packet[2] << 8 | packet[3]
    message = packet[HEADER:]
    whole = len(message) >= ICMP_HEADER + QUOTED <= length - HEADER
    if packet[0] != 0x45 or packet[9] != ICMP or not whole:
        return None
    if fragment_field(p) & (MORE_FRAGMENTS | OFFSET) or message[:2] != FRAGMENTATION_NEEDED:
        return None
    quoted = message[ICMP_HEADER:]
    df = (quoted[6] << 8 | quoted[7]) & DONT_FRAGMENT
    if quoted[0] != 0x45 or not df or quoted[9] not in TUNNELS or quoted[12:16] != p.vip:
        return None
    return quoted[16:20], max(LEAST, message[6] << 8 | message[7])


def hear_ipv6(p: Packet) -> tuple[bytes, int] | None:
    """Packet too big: the real, and the MTU of its way. Every IPv6 packet counts as DF."""
    packet = p.frame[p.at : p.linear]
    length = packet[4] << 8 | packet[5]
    message = packet[HEADER6:]
    whole = len(message) >= ICMP_HEADER + QUOTED6 <= length
    if packet[6] != ICMPV6 or not whole or message[0] != TOO_BIG6:
        return None
    quoted = message[ICMP_HEADER:]
    if quoted[0] >> 4 != 6 or quoted[6] not in TUNNELS or quoted[8:24] != p.vip:
        return None
    return quoted[24:40], max(LEAST6, int.from_bytes(message[4:8], "big"))
