# SPDX-License-Identifier: MIT
"""IP in IP (RFC 2003, RFC 2473, RFC 4213): there is nothing between the two headers."""

from reference.content import Ends, Tunnel
from reference.packet import Packet

PROTOCOL, PROTOCOL6 = 4, 41  # IPv4 inside, IPv6 inside


def length(tunnel: Tunnel) -> int:
    """How many bytes it adds behind the outer IP header."""
    return 0


def header(p: Packet, inner: bytes, tunnel: Tunnel, ends: Ends) -> tuple[int, bytes]:
    """The protocol in the outer IP header, and the bytes that follow that header."""
    return carried_protocol(p), b""


def carried_protocol(p: Packet) -> int:
    """The protocol number of the client's packet."""
    return PROTOCOL6 if p.is_ipv6 else PROTOCOL
