# SPDX-License-Identifier: MIT
"""IP in IP (RFC 2003, RFC 2473, RFC 4213): ECN as in RFC 6040 §4.1, normal mode; ID as in RFC 6864
§4.1. IPv6 has no DF for an outer IPv4 header to take over.
"""

from reference import ipv4, ipv6
from reference.checksum import adjust
from reference.content import Hop, Real
from reference.link import IPV4, IPV6
from reference.packet import Packet

PROTOCOL, PROTOCOL6 = 4, 41  # IPv4 inside, IPv6 inside


def length(real: Real) -> int:
    """How many bytes it adds."""
    return ipv6.HEADER if real.is_ipv6 else ipv4.HEADER


def encapsulate(p: Packet, real: Real, src: bytes, hop: Hop, sent: bytes) -> bytes:
    """The frame for a real. Without DF the outer ID is anything: the one in `sent` is taken."""
    packet = p.frame[p.at :]
    inner = ipv6.spend_hop(packet) if p.is_ipv6 else spend_ttl(packet)
    start = 14 + len(p.tags)
    hops = inner[7] if p.is_ipv6 else inner[8]
    protocol = PROTOCOL6 if p.is_ipv6 else PROTOCOL
    df = p.dont_fragment and not p.is_ipv6
    outer_length = p.length + length(real)
    if real.is_ipv6:
        outer = ipv6.header(
            tos=p.tos,
            length=outer_length,
            hops=hops,
            protocol=protocol,
            src=src,
            dst=real.rip,
        )
        return hop.macs + p.tags + IPV6 + outer + inner
    outer = ipv4.header(
        tos=p.tos,
        length=outer_length,
        id_=bytes(2) if df else sent[start + 4 : start + 6],
        df=df,
        ttl=hops,
        protocol=protocol,
        src=src,
        dst=real.rip,
    )
    return hop.macs + p.tags + IPV4 + outer + inner


def spend_ttl(packet: bytes) -> bytes:
    """One hop less to go; a wrong checksum stays as wrong as it was."""
    old = packet[8:10]
    new = bytes((old[0] - 1, old[1]))
    return packet[:8] + new + adjust(packet[10:12], old, new) + packet[12:]
