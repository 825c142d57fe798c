# SPDX-License-Identifier: MIT
"""A real server's unwrapper: RFC 2003, RFC 6040 §4.2, and "Kernels without ipip" in
docs/realserver.md.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from reference import ipip, ipv4, link
from reference.checksum import add_words, adjust
from reference.packet import Packet
from reference.verdict import XDP_PASS, Verdict, goes_up, is_lost

TUNNELS = {4, 41, 47}  # IPIP, IPv6 in IP, GRE
NOT_ECT, ECT_1, ECT_0, CE = range(4)
# RFC 6040 §4.2, figure 4: (inner, outer) → inner. What is not named stays as it is.
MERGED = {
    (ECT_0, ECT_1): ECT_1,
    (ECT_0, CE): CE,
    (ECT_1, CE): CE,
    (NOT_ECT, CE): None,
}


@dataclass
class Unwrapper:
    """A real server's VIPs, and the directors it takes packets from; None: from anybody."""

    vips: set[bytes]
    directors: list[IPv4Network] | None

    def handle(self, frame: bytes) -> Verdict:
        """What must become of a frame."""
        try:
            return self._unwrap(Packet(frame, 0))
        except Verdict as verdict:
            return verdict

    def _unwrap(self, p: Packet) -> Verdict:
        link.read_tags(p)
        if p.ethertype != link.IPV4:
            raise goes_up("not_ipv4")
        ipv4.read_addresses(p)
        self._check_sender(p)
        payload = outer_payload(p)
        inner = p.frame[p.at + ipv4.HEADER :]
        self._check_inner(inner, payload)
        inner = merge_ecn(inner, p.frame[p.at + 1] & 3)
        return Verdict(XDP_PASS, "decapsulated", p.frame[: p.at] + inner)

    def _check_sender(self, p: Packet) -> None:
        """What no director of ours sent passes, whatever it looks like."""
        if p.frame[p.at + 9] != ipip.PROTOCOL:
            raise goes_up("not_tunnel")
        if self.directors is not None:
            sender = IPv4Address(p.client)
            if not any(sender in director for director in self.directors):
                raise goes_up("not_director")
        if ipv4.fragment_field(p) & (ipv4.MORE_FRAGMENTS | ipv4.OFFSET):
            raise goes_up("fragment")

    def _check_inner(self, inner: bytes, payload: int) -> None:
        """One whole IPv4 packet for a VIP, and no second tunnel."""
        if payload < ipv4.HEADER or inner[0] >> 4 != 4:
            raise is_lost("inner")
        if inner[16:20] not in self.vips:
            raise goes_up("not_vip")
        header, length = (inner[0] & 0xF) * 4, int.from_bytes(inner[2:4], "big")
        if not ipv4.HEADER <= header <= length <= payload:
            raise is_lost("inner")
        if inner[9] in TUNNELS:
            raise is_lost("nested")


def outer_payload(p: Packet) -> int:
    """How much the outer packet carries, if it is sound and has no options."""
    packet = p.frame[p.at :]
    header, length = (packet[0] & 0xF) * 4, int.from_bytes(packet[2:4], "big")
    if packet[0] >> 4 != 4 or not ipv4.HEADER <= header <= length <= len(packet):
        raise is_lost("outer")
    if header > ipv4.HEADER:
        raise goes_up("options")
    if add_words(packet[:header]) != 0xFFFF:
        raise is_lost("checksum")
    return length - header


def merge_ecn(inner: bytes, outer: int) -> bytes:
    """The inner packet with the tunnel's congestion mark; dropped if its sender speaks no ECN."""
    own = inner[1] & 3
    merged = MERGED.get((own, outer), own)
    if merged is None:
        raise is_lost("ecn")
    if merged == own:
        return inner
    word = bytes((inner[0], inner[1] & ~3 | merged))
    return word + inner[2:10] + adjust(inner[10:12], inner[:2], word) + inner[12:]
