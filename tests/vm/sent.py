# SPDX-License-Identifier: MIT
"""Packets from clients and from routers on the way, with the properties that differences use."""

from dataclasses import dataclass
from functools import cached_property

from by_hand import NOBODY
from datagram import HOP_BY_HOP, ICMP, ICMPV6, TCP, UDP, V4, V6, Header, put_together, read
from ways import Way

AUTHENTICATION = 51
RECORD_ROUTE, SOURCE_ROUTE = 7, 0x83


@dataclass(frozen=True)
class Sent:
    """An IP packet, whole or in fragments, and the way of its flow."""

    pieces: tuple[bytes, ...]
    way: Way

    @cached_property
    def header(self) -> Header:
        """The header of the first fragment."""
        return read(self.pieces[0])

    @cached_property
    def packet(self) -> bytes:
        """The whole packet, or else the first fragment."""
        return (put_together(self.pieces) if self.in_pieces else None) or self.pieces[0]

    @property
    def id(self) -> tuple[int, int]:
        """The version and ID that identify it in all frames."""
        return self.header.version, self.header.id

    @property
    def in_pieces(self) -> bool:
        """Whether it is fragmented."""
        return self.header.piece is not None

    @property
    def too_big(self) -> bool:
        """Whether a fragment of it does not fit the tunnel."""
        return any(read(piece).length > self.way.fits for piece in self.pieces)

    @property
    def may_be_cut(self) -> bool:
        """Whether a router may cut it: IPv4 without DF. IPVS cuts ICMP errors with DF, too."""
        return self.header.version == V4 and (not self.header.df or self.is_error)

    @property
    def is_error(self) -> bool:
        """Whether it is an ICMP error."""
        return self.header.protocol in (ICMP, ICMPV6)

    @property
    def is_complete(self) -> bool:
        """Whether all of its fragments are sent."""
        return put_together(self.pieces) is not None

    @property
    def is_extended(self) -> bool:
        """Whether it has over four extension headers, hosts still to visit, or authentication."""
        header = self.header
        return header.extensions > 4 or header.visits or header.protocol == AUTHENTICATION

    @property
    def is_about_nobody(self) -> bool:
        """Whether it is an error about a flow that never began."""
        if not self.is_error:
            return False
        quoted = self.transport[8:]
        at = read(quoted).size + 2
        return quoted[at : at + 2] == NOBODY.to_bytes(2, "big")

    @property
    def quotes_oddly(self) -> bool:
        """Whether it is an error that quotes options, or less than 8 bytes behind the header."""
        if not self.is_error:
            return False
        quoted = self.transport[8:]
        header = read(quoted)
        return header.has_options or len(quoted) < header.size + 8

    @property
    def splits_tcp(self) -> bool:
        """Whether the first fragment has only a part of TCP's header."""
        length = self.header.length - self.header.size
        return self.in_pieces and self.header.protocol == TCP and length < 20

    @property
    def transport(self) -> bytes:
        """The packet from the transport header on."""
        return self.packet[read(self.packet).size :]

    @property
    def resets(self) -> bool:
        """Whether it is a TCP segment with RST."""
        return self.header.protocol == TCP and bool(self.transport[13] & 0x04)

    @property
    def is_obeyed(self) -> bool:
        """Whether it has an option that routers write to, route by, or refuse the packet for."""
        if self.header.version == V6:
            return self.packet[6] == HOP_BY_HOP and self.packet[42] >> 6 != 0
        return self.header.has_options and self.packet[20] in (RECORD_ROUTE, SOURCE_ROUTE)

    @property
    def summed(self) -> bool:
        """Whether the packet's sum follows from the transport's checksum."""
        if self.in_pieces or (self.header.version == V6 and self.header.has_options):
            return False
        return self.header.protocol != UDP or any(self.transport[6:8])
