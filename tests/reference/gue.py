# SPDX-License-Identifier: MIT
"""Generic UDP Encapsulation, version 0 without options (draft-ietf-intarea-gue), in UDP (RFC 768).

Without UDP's checksum in IPv6 too, as RFC 6935 lets tunnels do.
"""

from reference import ipv4, ipv6
from reference.checksum import with_checksum
from reference.content import Ends, Real, Tunnel
from reference.inner_csum import as_if_right
from reference.ipip import carried_protocol
from reference.outer_source import Flow, flow_of
from reference.packet import UDP, Packet

UDP_HEADER, HEADER = 8, 4
DYNAMIC = range(49152, 65536)  # RFC 6335 §6


def length(tunnel: Tunnel) -> int:
    """How many bytes it adds behind the outer IP header."""
    return UDP_HEADER + HEADER


def header(p: Packet, inner: bytes, tunnel: Tunnel, ends: Ends) -> tuple[int, bytes]:
    """The protocol that the outer IP header names, and what follows there."""
    own = bytes((0, carried_protocol(p), 0, 0))  # version and length, protocol, flags
    ports = ends.sport.to_bytes(2, "big") + tunnel.port.to_bytes(2, "big")
    start = ports + (UDP_HEADER + HEADER + len(inner)).to_bytes(2, "big") + bytes(2)
    summed = as_if_right(p, inner) if tunnel.checksum else None
    if summed is not None:
        start = with_checksum(ends.src, ends.dst, UDP, start + own + summed)[:UDP_HEADER]
    return UDP, start + own


class Ports:
    """Which source port a flow has is the program's choice; what it once was, it must stay."""

    def __init__(self) -> None:
        self.chosen: dict[Flow, int] = {}

    def choose(self, p: Packet, real: Real, sent: bytes) -> int:
        """The source port of a packet; `sent` is what the program made of it."""
        start = 14 + len(p.tags) + (ipv6.HEADER if real.is_ipv6 else ipv4.HEADER)
        told = int.from_bytes(sent[start : start + 2], "big")
        if told not in DYNAMIC:
            return DYNAMIC[0]
        return self.chosen.setdefault(flow_of(p), told)
