# SPDX-License-Identifier: MIT
"""A packet that is too big for the path to its real after it is wrapped: RFC 1191, RFC 792; for
IPv6 RFC 4443.
"""

from reference import ipv4, ipv6
from reference.checksum import checksum, with_checksum
from reference.link import IPV4, IPV6
from reference.packet import ICMP, ICMPV6, Packet
from reference.verdict import XDP_TX, Verdict, goes_up, is_lost

ANSWERS_PER_TICK = 1000  # for one CPU: docs/operations.md
FRAGMENTATION_NEEDED = b"\x03\x04"
PACKET_TOO_BIG = b"\x02\x00"
QUOTED = ipv4.HEADER + 8
QUOTED6 = ipv6.LEAST_MTU - ipv6.HEADER - 8


class Answers:
    """How many answers were sent in this tick."""

    def __init__(self) -> None:
        self.tick = self.sent = 0

    def check_size(self, p: Packet, mtu: int, added: int, tick: int) -> None:
        """Answer only packets with DF and without options (those have a header of fixed size).

        IPv6 senders make no packets smaller than IPv6's least MTU.
        """
        if p.length + added <= mtu:
            return
        if p.is_ipv6 and p.length <= ipv6.LEAST_MTU:
            raise is_lost("small_mtu")
        quotable = p.is_ipv6 or not p.options
        if not p.dont_fragment or not quotable or not may_be_answered(p):
            raise goes_up("too_big")
        if tick != self.tick:
            self.tick, self.sent = tick, 0
        self.sent += 1
        if self.sent > ANSWERS_PER_TICK:
            raise is_lost("reply_limit")
        left = mtu - added
        answer = too_big6(p, max(left, ipv6.LEAST_MTU)) if p.is_ipv6 else too_big(p, left)
        raise Verdict(XDP_TX, "replied_too_big", answer)


def may_be_answered(p: Packet) -> bool:
    """RFC 1122 §3.2.2, RFC 4443 §2.4: no error about an error, a later fragment or a frame to a
    group of the link; none to a source that is not a single host. (No host is in IPv6's ::/64.)
    """
    if p.is_ipv6:
        host = p.client[:8] != bytes(8) and p.client[0] != 0xFF
    else:
        host = 0 < p.client[0] < 224 and p.client[0] != 127
    return host and not p.frame[0] & 1 and not p.error and p.fragment != "later"


def too_big(p: Packet, mtu: int) -> bytes:
    """The answer: from the VIP, back the same way. Precedence 6, no ECN, as icmp_send()."""
    frame, at = p.frame, p.at
    quoted = frame[at : at + QUOTED]
    body = bytes(2) + mtu.to_bytes(2, "big") + quoted
    message = FRAGMENTATION_NEEDED + checksum(FRAGMENTATION_NEEDED + bytes(2) + body) + body
    outer = ipv4.header(
        tos=frame[at + 1] & 0x1C | 0xC0,
        length=ipv4.HEADER + len(message),
        id_=bytes(2),
        df=False,
        ttl=64,
        protocol=ICMP,
        src=p.vip,
        dst=p.client,
    )
    return frame[6:12] + frame[:6] + p.tags + IPV4 + outer + message


def too_big6(p: Packet, mtu: int) -> bytes:
    """The answer: from the VIP, back the same way. It quotes as much as fits IPv6's least MTU."""
    frame, at = p.frame, p.at
    body = mtu.to_bytes(4, "big") + frame[at : at + QUOTED6]
    message = with_checksum(p.vip, p.client, ICMPV6, PACKET_TOO_BIG + bytes(2) + body)
    outer = ipv6.header(
        tos=0,
        length=ipv6.HEADER + len(message),
        hops=64,
        protocol=ICMPV6,
        src=p.vip,
        dst=p.client,
    )
    return frame[6:12] + frame[:6] + p.tags + IPV6 + outer + message
