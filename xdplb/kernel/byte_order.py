# SPDX-License-Identifier: MIT
"""Byte order: values to the words in C and on the wire, and back. Only this module converts it."""

import socket
import sys
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from xdplb.model.address import Address, Prefix

V4_MAPPED_PREFIX = bytes(10) + b"\xff\xff"  # RFC 4291 §2.5.5.2


def mapped(address: Address) -> bytes:
    """The address in 16 bytes, network order; IPv4 as v4-mapped (RFC 4291 §2.5.5.2)."""
    return address.packed if address.version == 6 else V4_MAPPED_PREFIX + address.packed


def prefix_length(prefix: Prefix) -> int:
    """The prefix's length in bits, counted in `mapped(prefix.network_address)`."""
    return prefix.prefixlen + 128 - prefix.max_prefixlen


def address_words(address: Address) -> tuple[int, int]:
    """The address as the two words of C's `struct address`: (high, low), `__be64`."""
    packed = mapped(address)
    return int.from_bytes(packed[:8], sys.byteorder), int.from_bytes(packed[8:], sys.byteorder)


def address_of_words(high: int, low: int) -> Address:
    """The inverse of `address_words`."""
    packed = high.to_bytes(8, sys.byteorder) + low.to_bytes(8, sys.byteorder)
    if packed.startswith(V4_MAPPED_PREFIX):
        return IPv4Address(packed[12:])
    return IPv6Address(packed)


def htons(value: int) -> int:
    """A 16-bit number as C's `__be16`."""
    return socket.htons(value)


def tag_word(tpid: int, vid: int) -> int:
    """A VLAN tag of priority 0 as C's `__be32` (IEEE 802.1Q §9.6)."""
    return socket.htonl(tpid << 16 | vid)


def outer_header_sum(source: Address, destination: Address, protocol: int) -> int:
    """The sum of an outer IPv4 header's constant words: version and length, protocol, addresses.

    Units: ones' complement, folded to 16 bits, of words in memory order (RFC 1071 §1).
    """
    constant = b"\x45" + bytes(8) + bytes([protocol, 0, 0]) + source.packed + destination.packed
    return add_words(constant, sys.byteorder)


def add_words(data: bytes, order: Literal["little", "big"] = "big") -> int:
    """The ones' complement sum of 16-bit words (RFC 1071 §1). data: an even number of bytes."""
    total = sum(int.from_bytes(data[i : i + 2], order) for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
