# SPDX-License-Identifier: MIT
"""ICMP errors about what a real answered (RFC 792, RFC 4443): they belong to the flow that they
quote.
"""

from reference.bounds import has
from reference.ipv4 import HEADER, OFFSET
from reference.packet import ICMP, ICMPV6, TCP, UDP, Packet
from reference.verdict import goes_up

UNREACHABLE, SOURCE_QUENCH, TIME_EXCEEDED = 3, 4, 11
TOO_BIG6, INFORMATIONAL6 = 2, 0x80  # a type, and what those of no errors have
ICMP_HEADER, QUOTED = 8, HEADER + 8
HEADER6, QUOTED6, FRAGMENT = 40, 40 + 8, 44


def read_quoted(p: Packet) -> None:
    """The quoted packet went from the VIP to the client: its ends are the flow's, swapped."""
    if p.fragment == "later" or p.protocol != (ICMPV6 if p.is_ipv6 else ICMP):
        return
    message = p.frame[p.at + p.header : p.at + p.length]
    read = read_ipv6 if p.is_ipv6 else read_ipv4
    if not has(p, p.header + ICMP_HEADER + (QUOTED6 if p.is_ipv6 else QUOTED)):
        raise goes_up("icmp")
    read(p, message[0], message[ICMP_HEADER:])


def read_ipv4(p: Packet, type_: int, quoted: bytes) -> None:
    """A quoted header with options is nobody's; a later fragment has no ports."""
    if type_ not in (UNREACHABLE, SOURCE_QUENCH, TIME_EXCEEDED):
        raise goes_up("icmp")
    later = (quoted[6] << 8 | quoted[7]) & OFFSET
    if quoted[0] != 0x45 or later or quoted[12:16] != p.vip:
        raise goes_up("icmp")
    be_flows(p, quoted[9], quoted[16:20], quoted[HEADER:])


def read_ipv6(p: Packet, type_: int, quoted: bytes) -> None:
    """Of a quoted packet's extension headers, a first fragment's is looked behind."""
    if type_ & INFORMATIONAL6:
        raise goes_up("icmp")
    if quoted[0] >> 4 != 6 or quoted[8:24] != p.vip:
        raise goes_up("icmp")
    protocol, ports, client = quoted[6], quoted[HEADER6:], quoted[24:40]
    if protocol == FRAGMENT:
        later = (ports[2] << 8 | ports[3]) & 0xFFF8
        if later or not has(p, p.header + ICMP_HEADER + QUOTED6 + 8):
            raise goes_up("icmp")
        protocol, ports = ports[0], ports[8:]
    be_flows(p, protocol, client, ports)


def be_flows(p: Packet, protocol: int, client: bytes, ports: bytes) -> None:
    """The error becomes the flow's."""
    if protocol not in (TCP, UDP):
        raise goes_up("icmp")
    p.error = True
    p.protocol, p.client = protocol, client
    p.service_port = ports[0] << 8 | ports[1]
    p.client_port = ports[2] << 8 | ports[3]
