# SPDX-License-Identifier: MIT
"""Outer sources: the DIP, or an address of the service's prefix, the same for all of a flow."""

from reference.content import Real
from reference.packet import Packet

Flow = tuple[bytes, bytes, int, int, int]


class Sources:
    """Which address a flow has is the program's choice; what it once was, it must stay."""

    def __init__(self) -> None:
        self.chosen: dict[tuple[Flow, bytes, bytes], bytes] = {}

    def choose(self, p: Packet, real: Real, sent: bytes) -> bytes:
        """The outer source of a packet; `sent` is what the program made of it."""
        if not any(real.hosts):
            return real.dip
        start = 14 + len(p.tags) + (8 if real.is_ipv6 else 12)
        told = sent[start : start + len(real.dip)]
        if bytes(t & ~h for t, h in zip(told, real.hosts, strict=False)) != real.dip:
            return real.dip  # none of the prefix's
        return self.chosen.setdefault((flow_of(p), real.dip, real.hosts), told)


def flow_of(p: Packet) -> Flow:
    """What tells flows apart, to all that is a flow's own. Fragments of a client are all alike; of
    IPv6's later ones nobody knows the protocol.
    """
    if p.fragment:
        return p.client, p.vip, 0 if p.is_ipv6 else p.protocol, 0, 0
    return p.client, p.vip, p.protocol, p.client_port, p.service_port
