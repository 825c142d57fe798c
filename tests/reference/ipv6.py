# SPDX-License-Identifier: MIT
"""IPv6 (RFC 8200), and docs/fidelity.md for how far its extension headers are followed."""

from reference.packet import Packet
from reference.verdict import goes_up, is_lost

HEADER = 40
HOP_BY_HOP, ROUTING, FRAGMENT, ICMP, DESTINATION = 0, 43, 44, 58, 60
FOLLOWED, MOST_FOLLOWED = (HOP_BY_HOP, ROUTING, DESTINATION), 4
LEAST_MTU = 1280


def read_addresses(p: Packet) -> None:
    """All that is looked at before the VIP is known. None has an IPv4 address in IPv6's form."""
    frame, at = p.frame, p.at
    if len(frame) < at + HEADER:
        raise goes_up("truncated")
    p.client = frame[at + 8 : at + 24]
    p.vip = frame[at + 24 : at + 40]


def check_header(p: Packet) -> None:
    """Of a packet to a VIP. ICMP, neighbour discovery too, goes up whatever else it says."""
    frame, at = p.frame, p.at
    payload, protocol = frame[at + 4] << 8 | frame[at + 5], frame[at + 6]
    if protocol == ICMP:
        raise goes_up("icmp")
    if payload == 0 and protocol == HOP_BY_HOP:  # a jumbogram, RFC 2675
        raise goes_up("protocol")
    p.length = HEADER + payload
    if frame[at] >> 4 != 6 or at + p.length > len(frame):
        raise is_lost("malformed")
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
    """Up to the transport's header, which may begin at the packet's end. Returns: what it is."""
    packet = p.frame[p.at : p.at + p.length]
    for _ in range(MOST_FOLLOWED):
        if protocol not in FOLLOWED:
            break
        extension = packet[p.header : p.header + 8]
        if len(extension) < 8:
            raise is_lost("malformed")
        if protocol == ROUTING and extension[3]:
            raise goes_up("protocol")
        protocol = extension[0]
        p.header += 8 + 8 * extension[1]
    if p.header > p.length:
        raise is_lost("malformed")
    if protocol == FRAGMENT:
        raise goes_up("fragment")
    return protocol


def header(*, tos: int, length: int, hops: int, protocol: int, src: bytes, dst: bytes) -> bytes:
    """A header of a packet of so many bytes; its flow label is 0."""
    first = (6 << 28 | tos << 20).to_bytes(4, "big") + (length - HEADER).to_bytes(2, "big")
    return first + bytes((protocol, hops)) + src + dst


def spend_hop(packet: bytes) -> bytes:
    """One hop less to go."""
    return packet[:7] + bytes([packet[7] - 1]) + packet[8:]
