# SPDX-License-Identifier: MIT
"""Prefixes of outer sources: a service's flows leave from addresses of one, each from its own."""

from collections.abc import Iterable

from xdplb.errors import UsageError
from xdplb.net import Address, Prefix, parse_prefix

SHORTEST, LONGEST = 8, 31  # of a prefix's length: what is longer shares nothing
FIRST_MULTICAST = 224  # first byte; what is beyond is no host's either


def parse_source(text: str) -> Prefix | None:
    """Parse a source_cidr; "" is none. Raises: UsageError."""
    try:
        return parse_prefix(text) if text else None
    except UsageError as error:
        raise UsageError(f"source_cidr: {error.what}", error.mend) from error


def check_source(prefix: Prefix, ends: Iterable[Address]) -> None:
    """Whether reals can take packets from these addresses. Raises: UsageError.

    ends: VIP and reals, none of which may be in it: a real drops what says that it comes from an
    address of its own.
    """
    refused = f"source_cidr {prefix}: "
    if prefix.version == 6:
        raise UsageError(refused + "IPv6 is not supported yet", "use an IPv4 prefix")
    if not SHORTEST <= prefix.prefixlen <= LONGEST:
        raise UsageError(refused + "its length will not do", f"give /{SHORTEST} to /{LONGEST}")
    first = prefix.network_address.packed[0]
    if first in (0, 127) or first >= FIRST_MULTICAST:
        raise UsageError(refused + "its addresses are no hosts'", "give one of unicast addresses")
    for end in ends:
        if end.version != prefix.version:
            raise UsageError(refused + f"{end} is of another family", "leave source_cidr out")
        if end in prefix:
            raise UsageError(refused + f"{end} is in it", "give one without VIP and reals")
