# SPDX-License-Identifier: MIT
"""Tell the network which interface has an address: gratuitous ARP, neighbour advertisements."""

import socket
from contextlib import suppress

from xdplb.host import discovery_frames
from xdplb.host.ip import addresses_of, links
from xdplb.model.address import Address


def announce(vip: Address) -> None:
    """Tell the network which interface has this VIP now.

    It sends gratuitous ARP (RFC 5227 §2.3), or one unsolicited neighbour advertisement (RFC 4861
    §7.2.6 allows more, one second apart). If no Ethernet interface has the VIP, it sends nothing.
    """
    for link in links():
        if link.get("link_type") != "ether" or vip not in addresses_of(link):
            continue
        mac = bytes.fromhex(link["address"].replace(":", ""))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((link["ifname"], 0))
            with suppress(OSError):  # an interface that is down has nobody to tell
                for _ in range(1 if vip.version == 6 else 3):
                    sender.send(discovery_frames.announcement(vip, mac))
