# SPDX-License-Identifier: MIT
"""A packet that is too big for the path to its real once it is wrapped (RFC 1191, RFC 792)."""

from reference import ipv4
from reference.checksum import checksum
from reference.link import IPV4
from reference.packet import ICMP, Packet
from reference.verdict import XDP_TX, Verdict, goes_up, is_lost

ANSWERS_PER_TICK = 1000  # of one CPU: docs/operations.md
FRAGMENTATION_NEEDED = b"\x03\x04"
QUOTED = ipv4.HEADER + 8


class Answers:
    """How many were sent in this tick."""

    def __init__(self) -> None:
        self.tick = self.sent = 0

    def check_size(self, p: Packet, mtu: int, added: int, tick: int) -> None:
        """Only with DF is there something to answer; a header with options has no fixed size."""
        if p.length + added <= mtu:
            return
        if not ipv4.dont_fragment(p) or p.options or not may_be_answered(p):
            raise goes_up("too_big")
        if tick != self.tick:
            self.tick, self.sent = tick, 0
        self.sent += 1
        if self.sent > ANSWERS_PER_TICK:
            raise is_lost("reply_limit")
        raise Verdict(XDP_TX, "replied_too_big", too_big(p, mtu - added))


def may_be_answered(p: Packet) -> bool:
    """RFC 1122 §3.2.2: no error about an error, a later fragment or what came by link broadcast,
    nor to who is no single host.
    """
    host = 0 < p.client[0] < 224 and p.client[0] != 127
    return host and not p.frame[0] & 1 and not p.error and p.fragment != "later"


def too_big(p: Packet, mtu: int) -> bytes:
    """From the VIP, the way it came. Precedence 6 and no ECN, as the kernel's icmp_send()."""
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
