# SPDX-License-Identifier: MIT
"""TCP (RFC 9293), UDP (RFC 768), and other protocols."""

from reference.length import has, missing
from reference.packet import ICMP, ICMPV6, TCP, UDP, Packet
from reference.verdict import goes_up

SHORTEST = {TCP: 20, UDP: 8}


def read_ports(p: Packet) -> None:
    """Read the ports and TCP's flags; the packet must have the whole header.

    ICMP and later fragments have no ports. A first fragment may be too short (RFC 1858).
    """
    frame, protocol = p.frame, p.protocol
    if p.fragment == "later" and p.is_ipv6:
        return
    if p.fragment and protocol not in SHORTEST:
        raise goes_up("fragment")
    if p.fragment == "later" or protocol == (ICMPV6 if p.is_ipv6 else ICMP):
        return
    if protocol not in SHORTEST:
        raise goes_up("protocol")
    if not has(p, p.header + SHORTEST[protocol]):
        raise goes_up("fragment") if p.fragment else missing(p, p.header + SHORTEST[protocol])
    at = p.at + p.header
    p.client_port = frame[at] << 8 | frame[at + 1]
    p.service_port = frame[at + 2] << 8 | frame[at + 3]
    if protocol == TCP:
        p.flags = frame[at + 13]
