# SPDX-License-Identifier: MIT
"""What a tunnel's checksum covers: the client's packet as if its own checksums were right. So a
wrong checksum inside makes the outer checksum wrong as well (docs/fidelity.md).
"""

from reference import ipv6
from reference.checksum import checksum, with_checksum
from reference.packet import ICMP, ICMPV6, UDP, Packet


def covers(datagram: bytes) -> bool:
    """Whether UDP has a checksum that covers the whole of the IP packet's payload."""
    return any(datagram[6:8]) and int.from_bytes(datagram[4:6], "big") == len(datagram)


def as_if_right(p: Packet, inner: bytes) -> bytes | None:
    """The packet with right checksums; None if it has no checksum that covers all of it."""
    protocol = (ICMPV6 if p.is_ipv6 else ICMP) if p.error else p.protocol
    segment = inner[p.header :]
    if p.fragment or (protocol == UDP and not covers(segment)):
        return None
    if p.is_ipv6:
        if p.header > ipv6.HEADER:
            return None
        return inner[: p.header] + with_checksum(inner[8:24], inner[24:40], protocol, segment)
    before, behind = inner[:10], inner[12 : p.header]
    header = before + checksum(before + bytes(2) + behind) + behind
    return header + with_checksum(inner[12:16], inner[16:20], protocol, segment)
