# SPDX-License-Identifier: MIT
"""IPv6 (RFC 8200), and docs/fidelity.md for how far its extension headers are followed."""

from reference.length import check_length, has, missing
from reference.packet import Packet
from reference.verdict import goes_up, is_lost

HEADER = 40
HOP_BY_HOP, ROUTING, FRAGMENT, ICMP, DESTINATION = 0, 43, 44, 58, 60
FOLLOWED, MOST_FOLLOWED = (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION), 4
OFFSET, MORE_FRAGMENTS = 0xFFF8, 1
INFORMATIONAL = 0x80  # the bit of ICMP types that are not errors, RFC 4443 §2.1
LEAST_MTU = 1280


def read_addresses(p: Packet) -> None:
    """Read the addresses. Nothing else is read before the VIP is known. No VIP is v4-mapped."""
    frame, at = p.frame, p.at
    if len(frame) < at + HEADER:
        raise goes_up("truncated")
    p.client = frame[at + 8 : at + 24]
    p.vip = frame[at + 24 : at + 40]


def check_header(p: Packet) -> None:
    """Check the header of a packet to a VIP. ICMP that is not an error always passes; this includes
    neighbour discovery.
    """
    frame, at = p.frame, p.at
    payload, protocol = frame[at + 4] << 8 | frame[at + 5], frame[at + 6]
    type_ = frame[at + HEADER : min(at + HEADER + 1, p.linear)]
    if protocol == ICMP and (not type_ or type_[0] & INFORMATIONAL):
        raise goes_up("icmp")
    if payload == 0 and protocol == HOP_BY_HOP:  # a jumbogram, RFC 2675
        raise goes_up("protocol")
    p.length = HEADER + payload
    if frame[at] >> 4 != 6:
        raise is_lost("malformed")
    check_length(p)
    if frame[at + 7] <= 1:
        raise goes_up("ttl")
    p.header = HEADER
    p.protocol = follow(p, protocol)
    p.tos = frame[at] << 4 & 0xF0 | frame[at + 1] >> 4
    p.dont_fragment = True


def is_neighbour_discovery(p: Packet) -> bool:
    """RFC 4861 §4, by its type."""
    packet = p.frame[p.at :]
    return packet[6] == ICMP and len(packet) > HEADER and 133 <= packet[HEADER] <= 137


def follow(p: Packet, protocol: int) -> int:
    """Skip extensions up to the transport header, which may begin at the packet's end.

    Returns: its protocol; for a later fragment, any value. A fragment that is a whole packet counts
    as no fragment (RFC 6946).
    """
    packet = p.frame[p.at : p.at + p.length]
    for _ in range(MOST_FOLLOWED):
        if protocol not in FOLLOWED:
            break
        extension = packet[p.header : p.header + 8]
        if not has(p, p.header + 8):
            raise missing(p, p.header + 8)
        if protocol == ROUTING and extension[3]:
            raise goes_up("protocol")
        p.header += 8 if protocol == FRAGMENT else 8 + 8 * extension[1]
        if protocol == FRAGMENT:
            read_fragment(p, extension)
            if p.fragment == "later":
                break
        protocol = extension[0]
    if p.header > p.length:
        raise is_lost("truncated")
    return protocol


def read_fragment(p: Packet, extension: bytes) -> None:
    """Read one fragment header. A packet with a second one passes."""
    if p.fragment:
        raise goes_up("fragment")
    word = extension[2] << 8 | extension[3]
    p.fragment_id = extension[4:]
    if word & OFFSET:
        p.fragment = "later"
    elif word & MORE_FRAGMENTS:
        p.fragment = "first"


def header(*, tos: int, length: int, hops: int, protocol: int, src: bytes, dst: bytes) -> bytes:
    """The header of a packet of `length` bytes; its flow label is 0."""
    first = (6 << 28 | tos << 20).to_bytes(4, "big") + (length - HEADER).to_bytes(2, "big")
    return first + bytes((protocol, hops)) + src + dst


def spend_hop(packet: bytes) -> bytes:
    """One hop less to go."""
    return packet[:7] + bytes([packet[7] - 1]) + packet[8:]
