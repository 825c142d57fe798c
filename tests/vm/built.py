# SPDX-License-Identifier: MIT
"""IP packets from values, a hundred times as fast as by scapy, and ICMP errors about a flow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datagram import DF, ICMP, ICMPV6, TCP, V4, V6, with_checksum
from scapy.utils import checksum
from ways import VIPS, Way

from xdplb.model.address import parse_address

# The ICMP errors about a flow that IPVS handles, by type and code.
UNREACHABLE, QUENCH, EXCEEDED = 3, 4, 11
UNREACHABLE6, TOO_BIG6, EXCEEDED6, PROBLEM6 = 1, 2, 3, 4
ERRORS = {
    V4: [*((UNREACHABLE, code) for code in range(16)), (QUENCH, 0), (EXCEEDED, 0), (EXCEEDED, 1)],
    V6: [
        *((UNREACHABLE6, code) for code in range(8)),
        (TOO_BIG6, 0),
        (EXCEEDED6, 0),
        (EXCEEDED6, 1),
    ],
}
ACK, SYN = (bytes(8) + bytes([0x50, flags]) + b"\xfa\xf0" + bytes(2) for flags in (0x10, 0x02))
QUOTED = {V4: 28, V6: 1232}  # bytes: the least by RFC 792, the most by RFC 4443


def packet(
    ends: bytes,
    protocol: int,
    payload: bytes,
    *,
    tos: int = 0,
    ttl: int = 62,
    df: bool = False,
    options: bytes = b"",
    extensions: Sequence[tuple[int, bytes]] = (),
) -> bytes:
    """A packet of the addresses' family, without an ID. extensions: their types and contents."""
    if len(ends) == 32:
        names = [kind for kind, _ in extensions] + [protocol]
        chain = b"".join(
            bytes([name, len(data) // 8]) + data
            for name, (_, data) in zip(names[1:], extensions, strict=True)
        )
        length = len(chain) + len(payload)
        head = (6 << 28 | tos << 20).to_bytes(4, "big") + length.to_bytes(2, "big")
        return head + bytes([names[0], ttl]) + ends + chain + payload
    size = 20 + len(options)
    head = bytes([0x40 | size // 4, tos]) + (size + len(payload)).to_bytes(2, "big") + bytes(2)
    head += (DF if df else 0).to_bytes(2, "big") + bytes([ttl, protocol]) + bytes(2)
    return with_checksum(head + ends + options) + payload


def transport_checksum(ends: bytes, protocol: int, segment: bytes) -> bytes:
    """The checksum of a segment whose checksum field is 0."""
    pseudo = ends + bytes([0, protocol]) + len(segment).to_bytes(4, "big")
    return (checksum(pseudo + segment) or 0xFFFF).to_bytes(2, "big")


def segment(
    ends: bytes,
    protocol: int,
    ports: tuple[int, int],
    data: bytes,
    fields: bytes = ACK,
    *,
    summed: bool = True,
) -> bytes:
    """A TCP or UDP segment. fields: those of TCP's header, without the checksum."""
    head = b"".join(port.to_bytes(2, "big") for port in ports)
    if protocol == TCP:
        head, rest = head + fields[:12], fields[12:] + data
    else:
        head, rest = head + (8 + len(data)).to_bytes(2, "big"), data
    check = transport_checksum(ends, protocol, head + bytes(2) + rest) if summed else bytes(2)
    return head + check + rest


@dataclass(frozen=True)
class Flow:
    """A client's flow."""

    way: Way
    protocol: int
    client: bytes
    port: int

    @property
    def ends(self) -> bytes:
        """Both addresses, as in the client's packets."""
        return self.client + vip(self.way.inner)

    @property
    def ports(self) -> tuple[int, int]:
        """The same."""
        return self.port, self.way.port

    def opening(self) -> bytes:
        """The flow's first packet."""
        first = segment(self.ends, self.protocol, self.ports, b"", SYN)
        return packet(self.ends, self.protocol, first, df=True)

    def answer(self, size: int = 1300, **fields: Any) -> bytes:
        """The real's packet to the client, with this much data."""
        ends = vip(self.way.inner) + self.client
        said = segment(ends, self.protocol, self.ports[::-1], bytes(size))
        return packet(ends, self.protocol, said, df=True, **fields)


def vip(version: int) -> bytes:
    """The VIP, as bytes."""
    return parse_address(VIPS[version]).packed


def error(
    router: bytes,
    quoted: bytes,
    kind: int,
    code: int,
    rest: int = 0,
    *,
    right: bool = True,
    **fields: int,
) -> bytes:
    """A router's ICMP error to the VIP. rest: the MTU's word; right: whether its checksum is."""
    version = V4 if len(router) == 4 else V6
    ends, protocol = router + vip(version), ICMP if version == V4 else ICMPV6
    message = bytes([kind, code]) + bytes(2) + rest.to_bytes(4, "big") + quoted
    if version == V6:
        check = transport_checksum(ends, protocol, message)
    else:
        check = checksum(message).to_bytes(2, "big")
    message = message[:2] + (check if right else b"\xde\xad") + message[4:]
    return packet(ends, protocol, message, **fields)
