# SPDX-License-Identifier: MIT
"""Frames of ARP and neighbour discovery: make and read their bytes. Nothing is sent here.

A MAC is 6 bytes here. Sources: RFC 826, RFC 5227 for ARP; RFC 4861, RFC 4862 for IPv6.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

from xdplb.kernel.byte_order import add_words
from xdplb.model.address import Address

ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0806, 0x86DD
ALL_NODES_MAC = bytes.fromhex("333300000001")

_BROADCAST = b"\xff" * 6
_UNSPECIFIED = IPv6Address("::")
_ALL_NODES = IPv6Address("ff02::1")
_SOLICITED_NODE = IPv6Address("ff02::1:ff00:0")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_REQUEST = (1, 0x0800, 6, 4, 1)  # of Ethernet, for IPv4: lengths of their addresses
_ARP_REPLY = (1, 0x0800, 6, 4, 2)
_IPV6 = struct.Struct("!IHBB16s16s")
_ICMPV6, _HOP_LIMIT = 58, 255  # one that is less was forwarded: it is from another link
_SOLICITATION, _ADVERTISEMENT = 135, 136
_OVERRIDE = 0x20000000
_TARGET_MAC = 2  # the option of an advertisement


def announcement(address: Address, mac: bytes) -> bytes:
    """Tell all hosts on the link who has this address (RFC 5227 §2.3, RFC 4861 §7.2.6)."""
    if isinstance(address, IPv4Address):
        return _arp_request(mac, address.packed, address)
    body = struct.pack("!I16sBB6s", _OVERRIDE, address.packed, _TARGET_MAC, 1, mac)
    return _icmpv6(mac, address, _ALL_NODES, _ADVERTISEMENT, body)


def question(address: Address, mac: bytes) -> bytes:
    """Ask who has this address, without a source address.

    So other hosts learn nothing from the question (RFC 5227 §2.1.1, RFC 4862 §5.4.2).
    """
    if isinstance(address, IPv4Address):
        return _arp_request(mac, bytes(4), address)
    group = IPv6Address(int(_SOLICITED_NODE) | int(address) & 0xFFFFFF)
    return _icmpv6(mac, _UNSPECIFIED, group, _SOLICITATION, bytes(4) + address.packed)


def answer(frame: bytes) -> tuple[Address, bytes] | None:
    """The address and its owner that a frame announces, or gives in answer to question().

    None: the frame says nothing of this kind, or is damaged (RFC 4861 §7.1.2).
    """
    if len(frame) < 14:
        return None
    (ethertype,) = struct.unpack_from("!H", frame, 12)
    if ethertype == ETHERTYPE_ARP:
        return _arp_sender(frame[14:])
    if ethertype == ETHERTYPE_IPV6:
        return _advertised(frame[14:], sender=frame[6:12])
    return None


def _arp_request(mac: bytes, sender: bytes, target: IPv4Address) -> bytes:
    arp = _ARP.pack(*_ARP_REQUEST, mac, sender, bytes(6), target.packed)
    return _BROADCAST + mac + struct.pack("!H", ETHERTYPE_ARP) + arp


def _arp_sender(packet: bytes) -> tuple[Address, bytes] | None:
    if len(packet) < _ARP.size:
        return None
    *kind, mac, sender, _, _ = _ARP.unpack_from(packet)
    if tuple(kind) not in (_ARP_REQUEST, _ARP_REPLY):
        return None
    return IPv4Address(sender), mac


def _icmpv6(mac: bytes, source: IPv6Address, group: IPv6Address, kind: int, body: bytes) -> bytes:
    message = struct.pack("!BBH", kind, 0, 0) + body
    check = 0xFFFF - _sum(source, group, message)
    message = message[:2] + struct.pack("!H", check) + message[4:]
    header = _IPV6.pack(6 << 28, len(message), _ICMPV6, _HOP_LIMIT, source.packed, group.packed)
    ethernet = b"\x33\x33" + group.packed[-4:] + mac + struct.pack("!H", ETHERTYPE_IPV6)
    return ethernet + header + message


def _advertised(packet: bytes, *, sender: bytes) -> tuple[Address, bytes] | None:
    if len(packet) < _IPV6.size:
        return None
    version, length, protocol, hop_limit, source, destination = _IPV6.unpack_from(packet)
    message = packet[_IPV6.size : _IPV6.size + length]
    if (version >> 28, protocol, hop_limit, message[:2]) != (
        6,
        _ICMPV6,
        _HOP_LIMIT,
        bytes((_ADVERTISEMENT, 0)),
    ):
        return None
    if len(message) < max(24, length) or len(message) % 8:
        return None
    if _sum(IPv6Address(source), IPv6Address(destination), message) != 0xFFFF:
        return None
    mac, options = sender, message[24:]
    while options:
        if not 0 < 8 * options[1] <= len(options):
            return None
        if options[:2] == bytes((_TARGET_MAC, 1)):
            mac = options[2:8]
        options = options[8 * options[1] :]
    return IPv6Address(message[8:24]), mac


def _sum(source: IPv6Address, destination: IPv6Address, message: bytes) -> int:
    """The one's complement sum of a message and its pseudo header (RFC 8200 §8.1)."""
    pseudo = source.packed + destination.packed + struct.pack("!II", len(message), _ICMPV6)
    return add_words(pseudo + message)
