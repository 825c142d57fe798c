# SPDX-License-Identifier: MIT
"""The Internet checksum."""

from reference.packet import ICMP, ICMPV6, TCP, UDP

PLACES = {ICMP: 2, TCP: 16, UDP: 6, ICMPV6: 2}  # offset of the checksum in the header
MODULUS = 0xFFFF  # adding words with end-around carry


def add_words(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071); the last one is padded with zeros.

    The sum is 0 only if all data is 0. Other data that is congruent to 0 has the sum 0xffff.
    """
    total = int.from_bytes(data, "big") << 8 * (len(data) % 2)
    return total and (total - 1) % MODULUS + 1


def checksum(data: bytes) -> bytes:
    """The checksum of data whose own checksum field is still 0."""
    return (0xFFFF - add_words(data)).to_bytes(2, "big")


def adjust(check: bytes, old: bytes, new: bytes) -> bytes:
    """The checksum after a word of the data changed: RFC 1624, equation 3."""
    kept = bytes(0xFF - byte for byte in check + old)
    return (0xFFFF - add_words(kept + new)).to_bytes(2, "big")


def pseudo_header(src: bytes, dst: bytes, protocol: int, length: int) -> bytes:
    """RFC 8200 §8.1. IPv4's (RFC 9293, RFC 768) has the same sum, with fewer zeros."""
    return src + dst + length.to_bytes(4, "big") + protocol.to_bytes(4, "big")


def with_checksum(src: bytes, dst: bytes, protocol: int, segment: bytes) -> bytes:
    """A transport header and payload with the right checksum; UDP's is never 0 (RFC 768)."""
    place = PLACES[protocol]
    unsummed = segment[:place] + bytes(2) + segment[place + 2 :]
    pseudo = b"" if protocol == ICMP else pseudo_header(src, dst, protocol, len(segment))
    check = checksum(pseudo + unsummed)
    if protocol == UDP and not any(check):
        check = b"\xff\xff"
    return segment[:place] + check + segment[place + 2 :]
