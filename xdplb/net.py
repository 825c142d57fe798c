# SPDX-License-Identifier: MIT
"""Addresses and byte order: the only place where either is converted."""

import socket
import sys
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal

from xdplb.errors import UsageError

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network

V4_MAPPED_PREFIX = bytes(10) + b"\xff\xff"  # RFC 4291 §2.5.5.2


@lru_cache(maxsize=1 << 16)  # a change of many services parses each real's address several times
def parse_address(text: str, what: str = "address") -> Address:
    """Parse an IPv4 or IPv6 address. Raises: UsageError naming `what`."""
    try:
        return ip_address(text)
    except ValueError:
        raise UsageError(
            f"{what} '{text}' is not an IP address", "write it as 192.0.2.1 or 2001:db8::1"
        ) from None


def parse_prefix(text: str) -> Prefix:
    """Parse `192.0.2.0/24`; an address is a prefix of itself alone. Raises: UsageError."""
    try:
        prefix = ip_network(text, strict=False)
    except ValueError:
        raise UsageError(
            f"prefix '{text}' is not one", "write it as 192.0.2.0/24, 192.0.2.7 or 2001:db8::/32"
        ) from None
    if prefix.network_address != ip_address(text.partition("/")[0]):
        raise UsageError(f"prefix '{text}' has bits set beyond its length", f"write {prefix}")
    return prefix


def parse_senders(text: str, what: str) -> Address | Prefix:
    """Parse an address, or a prefix of several. Raises: UsageError naming `what`."""
    if "/" not in text:
        return parse_address(text, what)
    prefix = parse_prefix(text)
    return prefix.network_address if prefix.num_addresses == 1 else prefix


def parse_port(text: str, what: str = "port") -> int:
    """Parse a port, 0 … 65535; 0 is any port. Raises: UsageError naming `what`."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 0xFFFF:
        return int(text)
    raise UsageError(f"{what} '{text}' is not a port", "give a number from 0 (any port) to 65535")


def parse_endpoint(text: str) -> tuple[Address, int]:
    """Parse `192.0.2.1:80` or `[2001:db8::1]:80`. Raises: UsageError."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or (":" in host and not bracketed):
        raise UsageError(
            f"service '{text}' is not ADDRESS:PORT",
            "write it as 192.0.2.1:80 or [2001:db8::1]:80",
        )
    return parse_address(host[1:-1] if bracketed else host, "VIP"), parse_port(port)


def format_endpoint(address: Address, port: int) -> str:
    """The inverse of `parse_endpoint`."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def mapped(address: Address) -> bytes:
    """The address in 16 bytes, network order; IPv4 as v4-mapped (RFC 4291 §2.5.5.2)."""
    return address.packed if address.version == 6 else V4_MAPPED_PREFIX + address.packed


def prefix_length(prefix: Prefix) -> int:
    """How many bits of `mapped(prefix.network_address)` are the prefix's."""
    return prefix.prefixlen + 128 - prefix.max_prefixlen


def sort_prefixes(prefixes: Iterable[Prefix]) -> list[Prefix]:
    """In the order of addresses, IPv4 first."""
    return sorted(prefixes, key=lambda p: (p.version, p.network_address.packed, p.prefixlen))


def address_words(address: Address) -> tuple[int, int]:
    """The 16 bytes as the two words of C's `struct address`: (high, low), `__be64`."""
    packed = mapped(address)
    return int.from_bytes(packed[:8], sys.byteorder), int.from_bytes(packed[8:], sys.byteorder)


def address_of_words(high: int, low: int) -> Address:
    """The inverse of `address_words`."""
    packed = high.to_bytes(8, sys.byteorder) + low.to_bytes(8, sys.byteorder)
    if packed.startswith(V4_MAPPED_PREFIX):
        return IPv4Address(packed[12:])
    return IPv6Address(packed)


def htons(value: int) -> int:
    """A 16-bit number as the `__be16` that C holds."""
    return socket.htons(value)


def tag_word(tpid: int, vid: int) -> int:
    """A VLAN tag of priority 0 as the `__be32` that C holds (IEEE 802.1Q §9.6)."""
    return socket.htonl(tpid << 16 | vid)


def fold_address(address: Address) -> int:
    """The 32 bits that IPVS hashes of an address: IPv4 as it is, IPv6 by exclusive or of its words.

    Units: host order. Source: ip_vs_mh_hashkey() in net/netfilter/ipvs/ip_vs_mh.c.
    """
    folded = 0
    for start in range(0, len(address.packed), 4):
        folded ^= int.from_bytes(address.packed[start : start + 4], "big")
    return folded


def outer_header_sum(source: Address, destination: Address, protocol: int) -> int:
    """The sum of an outer IPv4 header's constant words: version and length, protocol, addresses.

    Units: ones' complement, folded to 16 bits, of words as they lie in memory (RFC 1071 §1).
    """
    constant = b"\x45" + bytes(8) + bytes([protocol, 0, 0]) + source.packed + destination.packed
    return add_words(constant, sys.byteorder)


def add_words(data: bytes, order: Literal["little", "big"] = "big") -> int:
    """The ones' complement sum of words of 16 bits (RFC 1071 §1); data of even length."""
    total = sum(int.from_bytes(data[i : i + 2], order) for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
