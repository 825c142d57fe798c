# SPDX-License-Identifier: MIT
"""The outer IP header, which all tunnels have. ECN as in RFC 6040 §4.1, normal mode; ID as in RFC
6864 §4.1. IPv6 has no DF that an outer IPv4 header could copy.
"""

from types import ModuleType

from reference import gre, gue, ipip, ipv4, ipv6
from reference.checksum import adjust
from reference.content import Ends, Hop, Real, Tunnel
from reference.link import IPV4, IPV6
from reference.packet import Packet

TUNNELS: dict[str, ModuleType] = {"ipip": ipip, "gre": gre, "gue": gue}


def length(real: Real) -> int:
    """The most bytes that are added: some packets have no tunnel checksum, and so fewer."""
    header = ipv6.HEADER if real.is_ipv6 else ipv4.HEADER
    return header + TUNNELS[real.tunnel.kind].length(real.tunnel)


def encapsulate(p: Packet, tunnel: Tunnel, ends: Ends, hop: Hop, sent: bytes) -> bytes:
    """The frame for a real. Without DF the outer ID is free: it is taken from `sent`."""
    packet = p.frame[p.at :]
    inner = ipv6.spend_hop(packet) if p.is_ipv6 else spend_ttl(packet)
    hops = inner[7] if p.is_ipv6 else inner[8]
    protocol, own = TUNNELS[tunnel.kind].header(p, inner[: p.length], tunnel, ends)
    if len(ends.dst) == 16:
        outer = ipv6.header(
            tos=p.tos,
            length=ipv6.HEADER + len(own) + p.length,
            hops=hops,
            protocol=protocol,
            src=ends.src,
            dst=ends.dst,
        )
        return hop.macs + p.tags + IPV6 + outer + own + inner
    start = 14 + len(p.tags)
    df = p.dont_fragment and not p.is_ipv6
    outer = ipv4.header(
        tos=p.tos,
        length=ipv4.HEADER + len(own) + p.length,
        id_=bytes(2) if df else sent[start + 4 : start + 6],
        df=df,
        ttl=hops,
        protocol=protocol,
        src=ends.src,
        dst=ends.dst,
    )
    return hop.macs + p.tags + IPV4 + outer + own + inner


def spend_ttl(packet: bytes) -> bytes:
    """TTL less 1. The checksum is adjusted, so a wrong one stays wrong."""
    old = packet[8:10]
    new = bytes((old[0] - 1, old[1]))
    return packet[:8] + new + adjust(packet[10:12], old, new) + packet[12:]
