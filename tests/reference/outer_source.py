# SPDX-License-Identifier: MIT
"""Outer sources: the DIP, or an address of the service's prefix, one for each flow."""

from reference.content import Real
from reference.packet import Packet

Flow = tuple[bytes, bytes, int, int, int]


class Sources:
    """The program chooses a flow's address, and must keep it."""

    def __init__(self) -> None:
        self.chosen: dict[tuple[Flow, bytes, bytes], bytes] = {}

    def choose(self, p: Packet, real: Real, sent: bytes) -> bytes:
        """The outer source of a packet. `sent`: the frame that the program made."""
        if not any(real.hosts):
            return real.dip
        start = 14 + len(p.tags) + (8 if real.is_ipv6 else 12)
        source = sent[start : start + len(real.dip)]
        if bytes(t & ~h for t, h in zip(source, real.hosts, strict=False)) != real.dip:
            return real.dip  # none of the prefix's
        return self.chosen.setdefault((flow_of(p), real.dip, real.hosts), source)


def flow_of(p: Packet) -> Flow:
    """The fields that the choice depends on. All fragments of a client have the same, because only
    the first one has ports; IPv6's later ones have no protocol either.
    """
    if p.fragment:
        return p.client, p.vip, 0 if p.is_ipv6 else p.protocol, 0, 0
    return p.client, p.vip, p.protocol, p.client_port, p.service_port
