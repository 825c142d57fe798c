# SPDX-License-Identifier: MIT
"""The Internet checksum."""

from struct import unpack


def add_words(data: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071); data of even length."""
    total = sum(unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data: bytes) -> bytes:
    """What stands in a header whose own checksum is still 0."""
    return (0xFFFF - add_words(data)).to_bytes(2, "big")


def adjust(check: bytes, old: bytes, new: bytes) -> bytes:
    """The checksum after a word of the data changed: RFC 1624, equation 3."""
    kept = bytes(0xFF - byte for byte in check + old)
    return (0xFFFF - add_words(kept + new)).to_bytes(2, "big")
