# SPDX-License-Identifier: MIT
"""ICMP errors about what a real answered (RFC 792): they belong to the flow that they quote."""

from reference.ipv4 import HEADER, OFFSET
from reference.packet import ICMP, TCP, UDP, Packet
from reference.verdict import goes_up

UNREACHABLE, SOURCE_QUENCH, TIME_EXCEEDED = 3, 4, 11
ICMP_HEADER, QUOTED = 8, HEADER + 8


def read_quoted(p: Packet) -> None:
    """The quoted packet went from the VIP to the client: its ends are the flow's, swapped."""
    if p.is_ipv6 or p.protocol != ICMP:
        return
    message = p.frame[p.at + p.header : p.at + p.length]
    quoted = message[ICMP_HEADER:]
    if len(quoted) < QUOTED or message[0] not in (UNREACHABLE, SOURCE_QUENCH, TIME_EXCEEDED):
        raise goes_up("icmp")
    later = (quoted[6] << 8 | quoted[7]) & OFFSET
    if quoted[0] != 0x45 or later or quoted[9] not in (TCP, UDP) or quoted[12:16] != p.vip:
        raise goes_up("icmp")
    p.error = True
    p.protocol = quoted[9]
    p.client = quoted[16:20]
    p.service_port = quoted[20] << 8 | quoted[21]
    p.client_port = quoted[22] << 8 | quoted[23]
