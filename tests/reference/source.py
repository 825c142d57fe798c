# SPDX-License-Identifier: MIT
"""Outer sources: the DIP, or an address of the service's prefix. A flow has one outer source."""

from reference.content import Real
from reference.packet import Packet

Flow = tuple[bytes, bytes, int, int, int]


class Sources:
    """The program chooses a flow's address; after that the address must not change."""

    def __init__(self) -> None:
        self.chosen: dict[tuple[Flow, bytes, bytes], bytes] = {}

    def choose(self, p: Packet, real: Real, sent: bytes) -> bytes:
        """The outer source of a packet; `sent` is what the program made of it."""
        if not any(real.hosts):
            return real.dip
        start = 14 + len(p.tags) + (8 if real.is_ipv6 else 12)
        told = sent[start : start + len(real.dip)]
        if bytes(t & ~h for t, h in zip(told, real.hosts, strict=False)) != real.dip:
            return real.dip  # not in the prefix
        return self.chosen.setdefault((flow_of(p), real.dip, real.hosts), told)


def flow_of(p: Packet) -> Flow:
    """The fields that the choice depends on. All fragments of a client have the same, because only
    the first one has ports; IPv6's later ones have no protocol either.
    """
    if p.fragment:
        return p.client, p.vip, 0 if p.is_ipv6 else p.protocol, 0, 0
    return p.client, p.vip, p.protocol, p.client_port, p.service_port
