# SPDX-License-Identifier: MIT
"""IP addresses, prefixes, ports and endpoints: text to values and back."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from xdplb.errors import UsageError

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network


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
    """Parse `192.0.2.0/24`; a bare address is a prefix of one address. Raises: UsageError."""
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


def sort_prefixes(prefixes: Iterable[Prefix]) -> list[Prefix]:
    """Sort by address, IPv4 first."""
    return sorted(prefixes, key=lambda p: (p.version, p.network_address.packed, p.prefixlen))


def sort_addresses(addresses: Iterable[Address]) -> list[Address]:
    """In the order of addresses, IPv4 first."""
    return sorted(addresses, key=lambda address: (address.version, address.packed))


def fold_address(address: Address) -> int:
    """The 32 bits of an address that IPVS hashes: IPv4 as it is, IPv6's four words XORed.

    Units: host order. Source: ip_vs_mh_hashkey() in net/netfilter/ipvs/ip_vs_mh.c.
    """
    folded = 0
    for start in range(0, len(address.packed), 4):
        folded ^= int.from_bytes(address.packed[start : start + 4], "big")
    return folded
