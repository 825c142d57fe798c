# SPDX-License-Identifier: MIT
"""Prefixes of outer sources: a service's flows leave from addresses of one, each from its own."""

from collections.abc import Collection
from ipaddress import IPv6Network

from xdplb.errors import UsageError
from xdplb.model.address import Address, Prefix, parse_prefix

# A prefix's lengths, by its family: what is longer shares nothing; a flow's are 32 bits at most.
LENGTHS = {4: (8, 31), 6: (96, 127)}
FIRST_MULTICAST = 224  # first byte of IPv4's; what is beyond is no host's either
GLOBAL, UNIQUE_LOCAL = IPv6Network("2000::/3"), IPv6Network("fc00::/7")


def parse_source(text: str) -> Prefix | None:
    """Parse a source_cidr; "" is none. Raises: UsageError."""
    try:
        return parse_prefix(text) if text else None
    except UsageError as error:
        raise UsageError(f"source_cidr: {error.what}", error.mend) from error


def check_source(prefix: Prefix, vip: Address, reals: Collection[Address]) -> None:
    """Whether reals can take packets from these addresses. Raises: UsageError.

    Neither VIP nor reals may be among them: a real drops what says that it comes from an address of
    its own.
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
    """A host's, wherever it is (RFC 1122 §3.2.1.3; RFC 4291 §2.4, RFC 4193)."""
    if address.version == 6:
        return address in GLOBAL or address in UNIQUE_LOCAL
    return 0 < address.packed[0] < FIRST_MULTICAST and not address.is_loopback
