# SPDX-License-Identifier: MIT
"""Ethernet, and up to two VLAN tags (IEEE 802.1Q, 802.1ad)."""

from reference.packet import Packet

TAGS = (b"\x81\x00", b"\x88\xa8")
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"


def read_tags(p: Packet) -> None:
    """Find the network header behind the tags. A third tag, or half a tag, is not read as a tag."""
    frame, at = p.frame, 12
    while at < 20 and frame[at : at + 2] in TAGS and len(frame) >= at + 6:
        at += 4
    p.tags = frame[12:at]
    p.ethertype = frame[at : at + 2]
    p.at = at + 2
