# SPDX-License-Identifier: MIT
"""Fragments (RFC 791 §3.2, RFC 8200 §4.5): only the first one has ports; later ones follow it.

The program's table has a fixed size; this one grows.
"""

from reference.content import Content
from reference.packet import Packet
from reference.verdict import goes_up

LIFE = 30  # ticks
Key = tuple[bytes, bytes, bytes]


class Fragments:
    """Where first fragments went: place, service and tick, by source, VIP and ID."""

    def __init__(self) -> None:
        self.records: dict[Key, tuple[int, int, int]] = {}

    def follow(self, p: Packet, content: Content, tick: int) -> int:
        """The index of the first fragment's real, if it is still a real of the same service."""
        place, service, seen = self.records.get(_key(p), (0, 0, tick - LIFE))
        real = content.reals.get(place)
        if tick - seen >= LIFE or real is None or real.service != service:
            raise goes_up("fragment")
        return place

    def remember(self, p: Packet, place: int, content: Content, tick: int) -> None:
        """A first fragment left for a real."""
        if p.fragment == "first":
            self.records[_key(p)] = place, content.reals[place].service, tick


def _key(p: Packet) -> Key:
    return p.client, p.vip, p.fragment_id
