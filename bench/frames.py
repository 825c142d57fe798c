# SPDX-License-Identifier: MIT
"""The packets of a measurement, and the frames that the director must make of them."""

import struct
from dataclasses import dataclass
from enum import IntEnum

from rig import (
    DIP,
    DIP6,
    DIP_MAC,
    FIRST_CLIENT,
    FIRST_CLIENT6,
    FIRST_REAL,
    FIRST_VIP,
    GATEWAY_MAC,
    VIP6,
    Balanced,
)

SYN, ACK = 0x02, 0x10
TCP, IPIP, UDP, IPV6, FRAGMENT, GRE = 6, 4, 17, 41, 44, 47
ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
GUE_PORT = 6080
FRAGMENT_ID = 1
PIECE = 24  # bytes of TCP in a first fragment: a multiple of eight


class Order(IntEnum):
    """How the wrapper numbers flows. The members are those of `enum order` in wrapper.c."""

    FIXED = 0
    SEQUENTIAL = 1
    RANDOM = 2


class Piece(IntEnum):
    """The part of a packet that a frame has."""

    WHOLE = 0
    FIRST = 1
    LATER = 2


@dataclass(frozen=True)
class Stream:
    """The packets of a measurement. `flows` 0 means 2^32. All IPv6 packets go to one VIP."""

    order: Order
    flows: int = 1
    flags: int = ACK
    first_service: int = 0
    services: int = 1
    family: int = 4
    piece: Piece = Piece.WHOLE

    def frame(self) -> bytes:
        """The packet of flow 0: Ethernet, IP, TCP without data. A whole IPv4 packet has DF."""
        port = 80 + (self.first_service & 7)
        data = struct.pack("!HHIIBBHHH", 0x8000, port, 1, 1, 0x50, self.flags, 65535, 0, 0)
        data = data.ljust(PIECE if self.piece is Piece.FIRST else 0, b"\0")
        offset = PIECE if self.piece is Piece.LATER else 0
        if self.family == 6:
            if self.piece is not Piece.WHOLE:
                more = self.piece is Piece.FIRST
                data = struct.pack("!BBHI", TCP, 0, offset | more, FRAGMENT_ID) + data
            protocol = TCP if self.piece is Piece.WHOLE else FRAGMENT
            header = ipv6_header(len(data), protocol, 64, FIRST_CLIENT6.packed + VIP6.packed)
        else:
            flags = {Piece.WHOLE: 0x4000, Piece.FIRST: 0x2000, Piece.LATER: 0}[self.piece]
            fragment = (FRAGMENT_ID if self.piece else 0) << 16 | flags | offset >> 3
            vip = FIRST_VIP + (self.first_service >> 3)
            header = ipv4_header(len(data), fragment, TCP, 64, FIRST_CLIENT.packed + vip.packed)
        return DIP_MAC + GATEWAY_MAC + ETHERTYPES[self.family] + header + data

    def places(self) -> tuple[int, int, int]:
        """The offsets where wrapper.c writes: `client_at`, `word_at`, `ports_at` of its plan."""
        if self.family == 4:
            return 22, 30, 34
        return 30, 18, 54 if self.piece is Piece.WHOLE else 62


def checksum(data: bytes) -> int:
    """RFC 1071. Units: host order."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4_header(length: int, fragment: int, protocol: int, ttl: int, addresses: bytes) -> bytes:
    """The header before `length` bytes. fragment: ID, flags and offset."""
    words = struct.pack("!BBHIBBH", 0x45, 0, 20 + length, fragment, ttl, protocol, 0) + addresses
    return words[:10] + checksum(words).to_bytes(2, "big") + words[12:]


def ipv6_header(length: int, protocol: int, hop_limit: int, addresses: bytes) -> bytes:
    """The header before `length` bytes."""
    return struct.pack("!IHBB", 6 << 28, length, protocol, hop_limit) + addresses


def prepended(length: int) -> bytes:
    """The headers that `prepend` of bench/floor.h writes before an IP packet of `length` bytes."""
    header = ipv4_header(length, 0x4000, IPIP, 63, DIP.packed + FIRST_REAL.packed)
    return GATEWAY_MAC + DIP_MAC + ETHERTYPES[4] + header


def floor_flags(length: int) -> list[str]:
    """The compiler's flags for bench/floor.h, for IP packets of `length` bytes."""
    header = prepended(length)[14:]
    check = int.from_bytes(header[10:12], "big")
    return [f"-DOUTER_LENGTH={len(header) + length}", f"-DOUTER_CHECK={check}"]


def wrapped(frame: bytes, service: Balanced, got: bytes) -> bytes:
    """The frame that the director must make of a frame of `Stream`.

    got: the frame that it made. Taken from it: the real, GUE's source port, and the outer ID if
    there is no DF.
    """
    inner = bytearray(frame[14:])
    if service.family == 6:
        inner[7] -= 1
        protocol, keeps_whole = IPV6, False
    else:
        inner[8] -= 1
        inner[10:12] = bytes(2)
        inner[10:12] = checksum(bytes(inner[:20])).to_bytes(2, "big")
        protocol, keeps_whole = IPIP, bool(inner[6] & 0x40)
    data, data_at = bytes(inner), 14 + (40 if service.outer == 6 else 20)
    if service.tunnel == "gre":
        data, protocol = bytes(2) + ETHERTYPES[service.family] + data, GRE
    elif service.tunnel == "gue":
        gue = struct.pack("!HHHBBH", GUE_PORT, 12 + len(data), 0, 0, protocol, 0)
        data, protocol = got[data_at : data_at + 2] + gue + data, UDP
    if service.outer == 6:
        header = ipv6_header(len(data), protocol, 63, DIP6.packed + got[38:54])
    else:
        fragment = 0x4000 if keeps_whole else int.from_bytes(got[18:20], "big") << 16
        header = ipv4_header(len(data), fragment, protocol, 63, DIP.packed + got[30:34])
    return GATEWAY_MAC + DIP_MAC + ETHERTYPES[service.outer] + header + data
