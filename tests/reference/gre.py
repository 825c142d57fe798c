# SPDX-License-Identifier: MIT
"""Generic Routing Encapsulation (RFC 2784; RFC 7676 for IPv6): no key and no sequence number (RFC
2890), a checksum if it is asked for and there can be one.
"""

from reference.checksum import checksum
from reference.content import Ends, Tunnel
from reference.inner_csum import as_if_right
from reference.link import IPV4, IPV6
from reference.packet import Packet

PROTOCOL = 47
NOTHING_PRESENT, CHECKSUM_PRESENT = b"\x00\x00", b"\x80\x00"
HEADER, CHECKSUM = 4, 4  # with the checksum go two reserved bytes


def length(tunnel: Tunnel) -> int:
    """How many bytes it adds behind the outer IP header, at most."""
    return HEADER + (CHECKSUM if tunnel.checksum else 0)


def header(p: Packet, inner: bytes, tunnel: Tunnel, ends: Ends) -> tuple[int, bytes]:
    """The protocol that the outer IP header names, and what follows there.

    The checksum is of this header and all that it carries.
    """
    ethertype = IPV6 if p.is_ipv6 else IPV4
    summed = as_if_right(p, inner) if tunnel.checksum else None
    if summed is None:
        return PROTOCOL, NOTHING_PRESENT + ethertype
    start = CHECKSUM_PRESENT + ethertype
    return PROTOCOL, start + checksum(start + bytes(CHECKSUM) + summed) + bytes(2)
