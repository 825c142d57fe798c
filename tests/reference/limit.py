# SPDX-License-Identifier: MIT
"""How many flows may begin in a tick: docs/operations.md, "Floods"."""

from collections import Counter

from reference.content import Content, Service
from reference.packet import Packet
from reference.verdict import is_lost

M64 = (1 << 64) - 1
GOLDEN_RATIO_64 = 0x9E3779B97F4A7C15


class Limits:
    """How many flows began in this tick: for each service, and in each tally of sources."""

    def __init__(self) -> None:
        self.tick = -1
        self.services: Counter[int] = Counter()
        self.sources: Counter[int] = Counter()

    def admit(self, p: Packet, service: Service, content: Content, tick: int) -> None:
        """Count a new flow, or drop it if a limit is reached. The source's limit comes first."""
        if tick != self.tick:
            self.tick = tick
            self.services.clear()
            self.sources.clear()
        if service.source_limit:
            tally = source_tally(p, service, content, tick)
            if self.sources[tally] >= service.source_limit:
                raise is_lost("source_limited")
            self.sources[tally] += 1
        if service.limit:
            if self.services[service.id] >= service.limit:
                raise is_lost("limited")
            self.services[service.id] += 1


def source_tally(p: Packet, service: Service, content: Content, tick: int) -> int:
    """The tally of a service's source in this tick. It is chosen by a hash: two may share one.

    Source: source_tally() in bpf/limit.h. For IPv6, the first 64 bits are the source.
    """
    first, second = content.flow_key
    factor = (second + tick * GOLDEN_RATIO_64 | 1) & M64
    source = int.from_bytes(p.client[:8], "little")
    hashed = (source ^ first) * factor + service.id * GOLDEN_RATIO_64 & M64
    return hashed >> 64 - content.source_bits
