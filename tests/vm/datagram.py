# SPDX-License-Identifier: MIT
"""IP packets of both families: read their headers, cut them into fragments, reassemble them."""

from collections.abc import Sequence
from dataclasses import dataclass

from scapy.utils import checksum

V4, V6 = 4, 6
ICMP, IPIP, TCP, UDP, IPV6, GRE, ICMPV6 = 1, 4, 6, 17, 41, 47, 58
HOP_BY_HOP, ROUTING, FRAGMENT, OPTIONS = 0, 43, 44, 60
HEADER = {V4: 20, V6: 40}  # without options or extensions
DF, MORE = 0x4000, 0x2000


@dataclass(frozen=True)
class Header:
    """An IP header; for IPv6 with its extensions, up to a fragment header if there is one."""

    version: int
    tos: int  # or traffic class
    id: int  # identifies a packet in these tests: IPv4's ID, IPv6's flow label
    length: int  # of the packet, without padding behind it
    size: int  # of the header
    ttl: int  # or hop limit
    protocol: int  # of the next header
    ends: bytes  # both addresses
    df: bool = False
    piece: int | None = None  # for a fragment: the ID that all fragments of its datagram have
    offset: int = 0
    more: bool = False
    names_next: int = 0  # IPv6: offset of the byte that names the next header, or the fragment's
    extensions: int = 0  # IPv6: number of extension headers, including the fragment header
    visits: bool = False  # a routing header has hosts still to visit

    @property
    def ecn(self) -> int:
        """The ECN field (RFC 3168)."""
        return self.tos & 3

    @property
    def has_options(self) -> bool:
        """Whether it has options or extensions."""
        return self.size > HEADER[self.version]


def read(packet: bytes) -> Header:
    """Read a packet's header."""
    return _read_v4(packet) if packet[0] >> 4 == V4 else _read_v6(packet)


def _read_v4(packet: bytes) -> Header:
    id_, fragment = _number(packet[4:6]), _number(packet[6:8])
    offset, more = (fragment & 0x1FFF) * 8, bool(fragment & MORE)
    return Header(
        version=V4,
        tos=packet[1],
        id=id_,
        length=_number(packet[2:4]),
        size=(packet[0] & 0xF) * 4,
        ttl=packet[8],
        protocol=packet[9],
        ends=packet[12:20],
        df=bool(fragment & DF),
        piece=id_ if offset or more else None,
        offset=offset,
        more=more,
    )


def _read_v6(packet: bytes) -> Header:
    first, length = _number(packet[:4]), 40 + _number(packet[4:6])
    named_at, size = 6, HEADER[V6]
    extensions, visits = 0, False
    while packet[named_at] in (HOP_BY_HOP, ROUTING, OPTIONS) and size + 8 <= length:
        visits |= packet[named_at] == ROUTING and packet[size + 3] > 0
        named_at, size = size, size + 8 * (1 + packet[size + 1])
        extensions += 1
    names_next, piece, offset, more = named_at, None, 0, False
    if packet[named_at] == FRAGMENT:
        fragment = _number(packet[size + 2 : size + 4])
        piece, offset, more = _number(packet[size + 4 : size + 8]), fragment & 0xFFF8, fragment & 1
        named_at, size = size, size + 8
        extensions += 1
    return Header(
        version=V6,
        tos=first >> 20 & 0xFF,
        id=first & 0xFFFFF,
        length=length,
        size=size,
        ttl=packet[7],
        protocol=packet[named_at],
        ends=packet[8:40],
        piece=piece,
        offset=offset,
        more=bool(more),
        names_next=names_next,
        extensions=extensions,
        visits=visits,
    )


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def with_checksum(header: bytes) -> bytes:
    """An IPv4 header with the right checksum."""
    header = header[:10] + bytes(2) + header[12:]
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:]


LABELS = 0x9E375  # odd: each number gives another label, and labels use all bits


def with_id(packet: bytes, number: int) -> bytes:
    """The packet, or fragment, with this number as its ID or flow label."""
    if packet[0] >> 4 == V4:
        size = (packet[0] & 0xF) * 4
        head = packet[:4] + number.to_bytes(2, "big") + packet[6:size]
        return with_checksum(head) + packet[size:]
    first = _number(packet[:4]) & ~0xFFFFF | number * LABELS & 0xFFFFF
    packet = first.to_bytes(4, "big") + packet[4:]
    header = read(packet)
    if header.piece is None:
        return packet
    return packet[: header.size - 4] + number.to_bytes(4, "big") + packet[header.size :]


def in_pieces(packet: bytes, size: int) -> list[bytes]:
    """The packet in fragments of at most `size` bytes. IPv6's extensions are in each."""
    header = read(packet)
    payload = packet[header.size : header.length]
    room = (size - header.size - (8 if header.version == V6 else 0)) // 8 * 8
    pieces = []
    for offset in range(0, len(payload), room):
        part = payload[offset : offset + room]
        more = offset + room < len(payload)
        pieces.append(_piece(packet, header, part, offset, more))
    return pieces


def _piece(packet: bytes, header: Header, part: bytes, offset: int, more: bool) -> bytes:
    if header.version == V4:
        fragment = (DF if header.df else 0) | (MORE if more else 0) | offset // 8
        words = (header.size + len(part), header.id, fragment)
        head = packet[:2] + b"".join(word.to_bytes(2, "big") for word in words)
        return with_checksum(head + packet[8 : header.size]) + part
    head = bytearray(packet[: header.size])
    head[header.names_next] = FRAGMENT
    head[4:6] = (header.size - 40 + 8 + len(part)).to_bytes(2, "big")
    own = bytes([header.protocol, 0]) + (offset | more).to_bytes(2, "big")
    return bytes(head) + own + bytes(4) + part


def with_source(packet: bytes, source: bytes) -> bytes:
    """The packet from another address, with the old transport checksum."""
    at = 12 if packet[0] >> 4 == V4 else 8
    changed = packet[:at] + source + packet[at + len(source) :]
    if packet[0] >> 4 == V4:
        changed = with_checksum(changed[:20]) + changed[20:]
    return changed


def put_together(pieces: Sequence[bytes]) -> bytes | None:
    """The reassembled datagram, or the one whole packet. None: a fragment is missing."""
    parts = sorted(((read(piece), piece) for piece in pieces), key=lambda part: part[0].offset)
    payload = b""
    for header, piece in parts:
        if header.offset != len(payload):
            return None
        payload += piece[header.size : header.length]
    first, packet = parts[0]
    if parts[-1][0].more:
        return None
    if first.piece is None:
        return packet
    if first.version == V4:
        head = packet[:2] + (first.size + len(payload)).to_bytes(2, "big") + packet[4:6]
        head += (DF if first.df else 0).to_bytes(2, "big") + packet[8 : first.size]
        return with_checksum(head) + payload
    kept = bytearray(packet[: first.size - 8])
    kept[first.names_next] = first.protocol
    kept[4:6] = (len(kept) - 40 + len(payload)).to_bytes(2, "big")
    return bytes(kept) + payload


def is_summed(packet: bytes) -> bool:
    """Whether IPv4's header and ICMP have right checksums."""
    header = read(packet)
    behind = packet[header.size : header.length]
    sums = [checksum(packet[: header.size])] if header.version == V4 else []
    if header.protocol == ICMP:
        sums.append(checksum(behind))
    elif header.protocol == ICMPV6:
        sums.append(checksum(header.ends + len(behind).to_bytes(4, "big") + b"\0\0\0:" + behind))
    return not any(sums)
