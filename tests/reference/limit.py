# SPDX-License-Identifier: MIT
"""How many flows may begin in a tick: docs/operations.md, "Floods"."""

from collections import Counter

from reference.content import Content, Service
from reference.packet import Packet
from reference.verdict import is_lost

M64 = (1 << 64) - 1
GOLDEN_RATIO_64 = 0x9E3779B97F4A7C15


class Limits:
    """What began in a tick: of each service, and in each tally of sources."""

    def __init__(self) -> None:
        self.tick = -1
        self.services: Counter[int] = Counter()
        self.sources: Counter[int] = Counter()

    def admit(self, p: Packet, service: Service, content: Content, tick: int) -> None:
        """A flow begins, unless one of its limits is reached; the source's is looked at first."""
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
    """Which tally a source of a service has in this tick: by a hash, since two may share one.

    Source: source_tally() in bpf/limit.h. Of IPv6 the first 64 bits count.
    """
    first, second = content.flow_key
    factor = (second + tick * GOLDEN_RATIO_64 | 1) & M64
    source = int.from_bytes(p.client[:8], "little")
    hashed = (source ^ first) * factor + service.id * GOLDEN_RATIO_64 & M64
    return hashed >> 64 - content.source_bits
