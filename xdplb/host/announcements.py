# SPDX-License-Identifier: MIT
"""Tell the network which interface has an address: gratuitous ARP, neighbour advertisements."""

import socket
import struct

from xdplb.host.ip import addresses_of, links
from xdplb.kernel.byte_order import add_words
from xdplb.model.address import Address, parse_address


def announce(vip: Address) -> None:
    """Tell the network which interface has this VIP now.

    It sends gratuitous ARP (RFC 5227 §2.3), or one unsolicited neighbour advertisement (RFC 4861
    §7.2.6 allows more, one second apart). If no Ethernet interface has the VIP, it sends nothing.
    """
    for link in links():
        if link.get("link_type") != "ether" or vip not in addresses_of(link):
            continue
        mac = bytes.fromhex(link["address"].replace(":", ""))
        frames = [_advertisement(vip, mac)] if vip.version == 6 else [_arp(vip, mac)] * 3
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((link["ifname"], 0))
            for frame in frames:
                sender.send(frame)


def _arp(vip: Address, mac: bytes) -> bytes:
    arp = bytes.fromhex("0001080006040001") + mac + vip.packed + bytes(6) + vip.packed
    return b"\xff" * 6 + mac + b"\x08\x06" + arp


def _advertisement(vip: Address, mac: bytes) -> bytes:
    """A frame to all nodes. Flags: override what is cached; the sender is not a router."""
    target = bytes((2, 1)) + mac  # option: target link-layer address
    message = bytes((136, 0, 0, 0)) + b"\x20\0\0\0" + vip.packed + target
    all_nodes = parse_address("ff02::1").packed
    pseudo = vip.packed + all_nodes + struct.pack("!II", len(message), socket.IPPROTO_ICMPV6)
    check = struct.pack("!H", 0xFFFF - add_words(pseudo + message))
    header = struct.pack("!IHBB", 6 << 28, len(message), socket.IPPROTO_ICMPV6, 255)
    packet = header + vip.packed + all_nodes + message[:2] + check + message[4:]
    return b"\x33\x33\0\0\0\1" + mac + b"\x86\xdd" + packet
