# SPDX-License-Identifier: MIT
"""What clients, and routers on the way to them, send; and what of it matters to differences."""

from dataclasses import dataclass
from functools import cached_property

from by_hand import NOBODY
from datagram import HOP_BY_HOP, ICMP, ICMPV6, TCP, UDP, V4, V6, Header, put_together, read
from ways import Way

AUTHENTICATION = 51
RECORD_ROUTE, SOURCE_ROUTE = 7, 0x83


@dataclass(frozen=True)
class Sent:
    """An IP packet, whole or in pieces, by the way that its flow goes."""

    pieces: tuple[bytes, ...]
    way: Way

    @cached_property
    def header(self) -> Header:
        """Of the first piece."""
        return read(self.pieces[0])

    @cached_property
    def packet(self) -> bytes:
        """The whole."""
        return (put_together(self.pieces) if self.in_pieces else None) or self.pieces[0]

    @property
    def id(self) -> tuple[int, int]:
        """What it is known by wherever it turns up."""
        return self.header.version, self.header.id

    @property
    def in_pieces(self) -> bool:
        """It is more than one frame, or should be."""
        return self.header.piece is not None

    @property
    def too_big(self) -> bool:
        """A piece of it has no room in the tunnel."""
        return any(read(piece).length > self.way.fits for piece in self.pieces)

    @property
    def may_be_cut(self) -> bool:
        """By others than its sender: of IPv4, without DF; IPVS cuts ICMP errors with it, too."""
        return self.header.version == V4 and (not self.header.df or self.is_error)

    @property
    def is_error(self) -> bool:
        """ICMP's."""
        return self.header.protocol in (ICMP, ICMPV6)

    @property
    def is_complete(self) -> bool:
        """All pieces of it are sent."""
        return put_together(self.pieces) is not None

    @property
    def is_extended(self) -> bool:
        """It has more extension headers than anybody sends, such that steer, or authentication."""
        header = self.header
        return header.extensions > 4 or header.visits or header.protocol == AUTHENTICATION

    @property
    def is_about_nobody(self) -> bool:
        """An error about a client who never came."""
        if not self.is_error:
            return False
        quoted = self.transport[8:]
        at = read(quoted).size + 2
        return quoted[at : at + 2] == NOBODY.to_bytes(2, "big")

    @property
    def quotes_oddly(self) -> bool:
        """An error: it quotes options, or less than 8 bytes behind the header."""
        if not self.is_error:
            return False
        quoted = self.transport[8:]
        header = read(quoted)
        return header.has_options or len(quoted) < header.size + 8

    @property
    def splits_tcp(self) -> bool:
        """The first piece has not all of TCP's header."""
        length = self.header.length - self.header.size
        return self.in_pieces and self.header.protocol == TCP and length < 20

    @property
    def transport(self) -> bytes:
        """From TCP's or UDP's header on."""
        return self.packet[read(self.packet).size :]

    @property
    def resets(self) -> bool:
        """It is a TCP segment with RST."""
        return self.header.protocol == TCP and bool(self.transport[13] & 0x04)

    @property
    def is_obeyed(self) -> bool:
        """It has an option that routers write to, go by, or refuse it for."""
        if self.header.version == V6:
            return self.packet[6] == HOP_BY_HOP and self.packet[42] >> 6 != 0
        return self.header.has_options and self.packet[20] in (RECORD_ROUTE, SOURCE_ROUTE)

    @property
    def summed(self) -> bool:
        """The transport's checksum says what the packet sums to."""
        if self.in_pieces or (self.header.version == V6 and self.header.has_options):
            return False
        return self.header.protocol != UDP or any(self.transport[6:8])
