# SPDX-License-Identifier: MIT
"""TCP (RFC 9293), UDP (RFC 768), and what is neither."""

from reference.packet import Packet
from reference.verdict import goes_up, is_lost

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
SHORTEST = {TCP: 20, UDP: 8}


def read_ports(p: Packet) -> None:
    """Ports and TCP's flags, of a header that the packet has whole."""
    frame, protocol = p.frame, p.protocol
    if protocol == (ICMPV6 if p.is_ipv6 else ICMP):
        raise goes_up("icmp")
    if protocol not in SHORTEST:
        raise goes_up("protocol")
    if p.length < p.header + SHORTEST[protocol]:
        raise is_lost("malformed")
    at = p.at + p.header
    p.client_port = frame[at] << 8 | frame[at + 1]
    p.service_port = frame[at + 2] << 8 | frame[at + 3]
    if protocol == TCP:
        p.flags = frame[at + 13]
