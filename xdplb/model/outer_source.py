# SPDX-License-Identifier: MIT
"""Prefixes of outer sources: each flow of a service leaves from its own address in the prefix."""

from collections.abc import Collection
from ipaddress import IPv6Network

from xdplb.errors import UsageError
from xdplb.model.address import Address, Prefix, parse_prefix

# Shortest and longest prefix, by family. A longer one has one address only; a flow's own part of
# the address has at most 32 bits.
LENGTHS = {4: (8, 31), 6: (96, 127)}
FIRST_MULTICAST = 224  # first byte of IPv4's multicast; no host has an address from here on
GLOBAL, UNIQUE_LOCAL = IPv6Network("2000::/3"), IPv6Network("fc00::/7")


def parse_source(text: str) -> Prefix | None:
    """Parse a source_cidr; "" means None. Raises: UsageError."""
    try:
        return parse_prefix(text) if text else None
    except UsageError as error:
        raise UsageError(f"source_cidr: {error.what}", error.mend) from error


def check_source(prefix: Prefix, vip: Address, reals: Collection[Address]) -> None:
    """Check that reals can take packets from these addresses. Raises: UsageError.

    The prefix must not contain the VIP or a real: a real drops packets that come from one of its
    own addresses.
    """
    refused = f"source_cidr {prefix}: "
    shortest, longest = LENGTHS[prefix.version]
    if not shortest <= prefix.prefixlen <= longest:
        raise UsageError(refused + "its length will not do", f"give /{shortest} to /{longest}")
    first = prefix.network_address
    if not _is_unicast(first):
        raise UsageError(refused + "its addresses are no hosts'", "give one of unicast addresses")
    for real in reals:
        if real.version != prefix.version:
            raise UsageError(refused + f"{real} is of another family", "leave source_cidr out")
    for end in (vip, *reals):
        if end in prefix:
            raise UsageError(refused + f"{end} is in it", "give one without VIP and reals")


def _is_unicast(address: Address) -> bool:
    """Whether a host on any link may have it (RFC 1122 §3.2.1.3; RFC 4291 §2.4, RFC 4193)."""
    if address.version == 6:
        return address in GLOBAL or address in UNIQUE_LOCAL
    return 0 < address.packed[0] < FIRST_MULTICAST and not address.is_loopback
