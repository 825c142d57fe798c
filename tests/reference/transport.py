# SPDX-License-Identifier: MIT
"""TCP (RFC 9293), UDP (RFC 768), and what is neither."""

from reference.packet import ICMP, ICMPV6, TCP, UDP, Packet
from reference.verdict import goes_up, is_lost

SHORTEST = {TCP: 20, UDP: 8}


def read_ports(p: Packet) -> None:
    """Ports and TCP's flags, of a header that the packet has whole. ICMP has none.

    Nor has a later fragment; and a first one may be too short (RFC 1858).
    """
    frame, protocol = p.frame, p.protocol
    if p.fragment and protocol not in SHORTEST:
        raise goes_up("fragment")
    if p.fragment == "later":
        return
    if protocol == ICMP and not p.is_ipv6:
        return
    if protocol == ICMPV6 and p.is_ipv6:
        raise goes_up("icmp")
    if protocol not in SHORTEST:
        raise goes_up("protocol")
    if p.length < p.header + SHORTEST[protocol]:
        raise goes_up("fragment") if p.fragment else is_lost("malformed")
    at = p.at + p.header
    p.client_port = frame[at] << 8 | frame[at + 1]
    p.service_port = frame[at + 2] << 8 | frame[at + 3]
    if protocol == TCP:
        p.flags = frame[at + 13]
