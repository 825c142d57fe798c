# SPDX-License-Identifier: MIT
"""Where VIPs and services are in their tables: the writing side of bpf/service.h.

A key may be in any way of two buckets. The first bucket is used unless it is full, so one cache
line is nearly always enough. Keys never move: a reader without locks could miss a moving key.
"""

import ctypes
from collections.abc import Iterable, Iterator
from typing import Any

from xdplb.errors import TableFull
from xdplb.kernel.byte_order import address_words, htons
from xdplb.kernel.tables import Tables, elements
from xdplb.model.address import Address
from xdplb.model.service import ServiceKey

GOLDEN_RATIO_64 = 0x9E3779B97F4A7C15
_MASK_64 = (1 << 64) - 1


def buckets_of(key: int, bits: int) -> tuple[int, int]:
    """The two buckets of a 64-bit key among 2^bits, as first_bucket() and second_bucket() in C."""
    product = key * GOLDEN_RATIO_64 & _MASK_64
    return product >> (64 - bits), product >> (64 - 2 * bits) & ((1 << bits) - 1)


def _entries(buckets: Any, member: str, key: int) -> Iterator[tuple[int, Any]]:
    """Every place where the key may be: its number (bucket * ways + way) and the live record."""
    for bucket in buckets_of(key, len(buckets).bit_length() - 1):
        ways = getattr(buckets[bucket], member)
        for way in range(len(ways)):
            yield bucket * len(ways) + way, ways[way]


class ServiceTables:
    """The VIPs and services of one director, as the program finds them."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables  # keeps the memory mapped
        self._vips = elements(tables.director[0].vips)
        self._services = elements(tables.director[0].services)

    def find_vip(self, vip: Address) -> int | None:
        """A VIP's number; None if it is not in the table."""
        high, low = address_words(vip)
        for number, record in _entries(self._vips, "vip", high ^ low):
            if (record.high, record.low) == (high, low):
                return number
        return None

    def add_vip(self, vip: Address) -> int:
        """Adds a VIP if it is not in the table. Returns: its number. Raises: TableFull."""
        number = self.find_vip(vip)
        if number is not None:
            return number
        high, low = address_words(vip)
        for number, record in _entries(self._vips, "vip", high ^ low):
            if (record.high, record.low) == (0, 0):
                record.high = high  # for IPv4 this is 0: only the second store makes the VIP
                record.low = low
                return number
        raise TableFull(
            f"VIP {vip}: both its buckets are full", "attach with a larger --tune max_vips=…"
        )

    def remove_vip(self, vip: Address) -> None:
        """Removes a VIP: its packets now pass. No error if it is not in the table."""
        high, low = address_words(vip)
        for _, record in _entries(self._vips, "vip", high ^ low):
            if (record.high, record.low) == (high, low):
                record.low = 0
                record.high = 0

    def _key(self, service: ServiceKey) -> int | None:
        vip = self.find_vip(service.vip)
        if vip is None:
            return None
        return vip << 32 | htons(service.port) << 16 | service.protocol

    def find_service(self, service: ServiceKey) -> Any:
        """A service's live entry (struct service_entry); None if it is not in the table."""
        key = self._key(service)
        if key is None:
            return None
        for _, record in _entries(self._services, "entry", key):
            if record.key == key:
                return record
        return None

    def put_service(self, service: ServiceKey, **values: int) -> None:
        """Adds a service or changes it. Its VIP must be there. Raises: TableFull."""
        record = self.find_service(service)
        key = self._key(service)
        assert key is not None, "add_vip() comes first"
        if record is None:
            entries = _entries(self._services, "entry", key)
            record = next((r for _, r in entries if r.key == 0), None)
        if record is None:
            raise TableFull(
                f"service {service}: both its buckets are full",
                "attach with a larger --tune max_services=…",
            )
        # One store for all that is not the key, then the key: no reader sees half a service.
        new = type(record.service)(**values)
        word = ctypes.c_uint64.from_buffer(new).value
        ctypes.c_uint64.from_buffer(record.service).value = word
        record.key = key

    def remove_service(self, service: ServiceKey) -> None:
        """Removes a service: its packets now pass. No error if it is not in the table."""
        record = self.find_service(service)
        if record is not None:
            record.key = 0

    def keep_services(self, services: Iterable[ServiceKey]) -> None:
        """Remove all services but these."""
        kept = {self._key(service) for service in services}
        for bucket in self._services:
            for record in bucket.entry:
                if record.key and record.key not in kept:
                    record.key = 0
                    ctypes.memset(ctypes.addressof(record), 0, ctypes.sizeof(record))

    def keep_vips(self, vips: Iterable[Address]) -> None:
        """Remove all VIPs but these."""
        kept = set(map(address_words, vips))
        for bucket in self._vips:
            for record in bucket.vip:
                words = record.high, record.low
                if words != (0, 0) and words not in kept:
                    record.low = 0
                    record.high = 0
