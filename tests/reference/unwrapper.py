# SPDX-License-Identifier: MIT
"""A real server's unwrapper: RFCs 2003, 2473, 4213, 2784, RFC 6040 §4.2, and "Kernels without ipip"
in docs/realserver.md.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple

from reference import ipv4, link
from reference.checksum import add_words, adjust
from reference.packet import Packet
from reference.verdict import XDP_PASS, Verdict, goes_up, is_lost

ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
IPV6_HEADER = 40
IN_IP = {4: 4, 41: 6}  # protocol → version of IP
GRE, UDP = 47, 17
GUE_PORT = (6080).to_bytes(2, "big")
EXTENSIONS = {0, 43, 44, 60}  # hop-by-hop, routing, fragment, destination: RFC 8200 §4
FRAGMENT = 44
LOOKED_BEHIND = 4  # extension headers
V4_MAPPED = bytes(10) + b"\xff\xff"

NOT_ECT, ECT_1, ECT_0, CE = range(4)
# RFC 6040 §4.2, figure 4: (inner, outer) → new inner. Other pairs leave the inner mark as it is.
MERGED = {
    (ECT_0, ECT_1): ECT_1,
    (ECT_0, CE): CE,
    (ECT_1, CE): CE,
    (NOT_ECT, CE): None,
}


class Tunnel(NamedTuple):
    """What follows an outer header: the tunnel's own bytes, and the version of IP inside."""

    length: int
    version: int


class Outer(NamedTuple):
    """A valid outer packet: bytes before the inner one; the inner version and most bytes; ECN."""

    length: int
    version: int
    payload: int
    ecn: int


@dataclass
class Unwrapper:
    """A real server's VIPs, and the directors whose packets it accepts; None: anybody's."""

    vips: set[bytes]
    directors: list[IPv4Network | IPv6Network] | None

    def handle(self, frame: bytes) -> Verdict:
        """What must happen to a frame."""
        try:
            return self._unwrap(Packet(frame, 0))
        except Verdict as verdict:
            return verdict

    def _unwrap(self, p: Packet) -> Verdict:
        link.read_tags(p)
        packet = p.frame[p.at :]
        if p.ethertype == ETHERTYPES[4]:
            outer = self._read_ipv4(packet)
        elif p.ethertype == ETHERTYPES[6]:
            outer = self._read_ipv6(packet)
        else:
            raise goes_up("not_ip")
        inner = packet[outer.length :]
        check = self._check_inner_ipv4 if outer.version == 4 else self._check_inner_ipv6
        check(inner, outer.payload)
        inner = merge_ecn(inner, outer.version, outer.ecn)
        head = p.frame[: p.at - 2] + ETHERTYPES[outer.version]
        return Verdict(XDP_PASS, "decapsulated", head + inner)

    def _check_sender(self, source: bytes) -> None:
        """A packet that none of our directors sent always passes."""
        named = self.directors is None or any(
            ip_address(source) in director for director in self.directors
        )
        if not named or source.startswith(V4_MAPPED):
            raise goes_up("not_director")

    def _read_ipv4(self, packet: bytes) -> Outer:
        if len(packet) < ipv4.HEADER:
            raise goes_up("truncated")
        fragment = int.from_bytes(packet[6:8], "big")
        header, length = (packet[0] & 0xF) * 4, int.from_bytes(packet[2:4], "big")
        if packet[9] not in IN_IP and (header != ipv4.HEADER or fragment & ipv4.OFFSET):
            raise goes_up("not_tunnel")
        tunnel = read_tunnel(packet[9], packet[ipv4.HEADER :])
        self._check_sender(packet[12:16])
        if fragment & (ipv4.MORE_FRAGMENTS | ipv4.OFFSET):
            raise goes_up("fragment")
        if packet[0] >> 4 != 4 or not ipv4.HEADER <= header <= length <= len(packet):
            raise is_lost("outer")
        if header > ipv4.HEADER:
            raise goes_up("options")
        if add_words(packet[:header]) != 0xFFFF:
            raise is_lost("checksum")
        return sound(header, tunnel, length, packet[1] & 3)

    def _read_ipv6(self, packet: bytes) -> Outer:
        if len(packet) < IPV6_HEADER:
            raise goes_up("truncated")
        if packet[6] in EXTENSIONS:
            self._check_sender(packet[8:24])
            raise goes_up("fragment" if packet[6] == FRAGMENT else "options")
        tunnel = read_tunnel(packet[6], packet[IPV6_HEADER:])
        self._check_sender(packet[8:24])
        length = IPV6_HEADER + int.from_bytes(packet[4:6], "big")
        if packet[0] >> 4 != 6 or length > len(packet):
            raise is_lost("outer")
        return sound(IPV6_HEADER, tunnel, length, packet[1] >> 4 & 3)

    def _check_inner_ipv4(self, inner: bytes, payload: int) -> None:
        """One whole packet for a VIP, and no second tunnel."""
        if payload < ipv4.HEADER or inner[0] >> 4 != 4:
            raise is_lost("inner")
        if inner[16:20] not in self.vips:
            raise goes_up("not_vip")
        header, length = (inner[0] & 0xF) * 4, int.from_bytes(inner[2:4], "big")
        if not ipv4.HEADER <= header <= length <= payload:
            raise is_lost("inner")
        if inner[9] in {*IN_IP, GRE}:
            raise is_lost("nested")

    def _check_inner_ipv6(self, inner: bytes, payload: int) -> None:
        """The same for IPv6. A tunnel may follow extension headers."""
        if payload < IPV6_HEADER or inner[0] >> 4 != 6:
            raise is_lost("inner")
        if inner[24:40] not in self.vips:
            raise goes_up("not_vip")
        if IPV6_HEADER + int.from_bytes(inner[4:6], "big") > payload:
            raise is_lost("inner")
        if protocol_behind_extensions(inner) in {*IN_IP, GRE}:
            raise is_lost("nested")


def read_tunnel(protocol: int, inside: bytes) -> Tunnel:
    """The kind of tunnel. Our director uses no keys, sequence numbers, options or other ports."""
    if protocol in IN_IP:
        return Tunnel(0, IN_IP[protocol])
    versions = {ethertype: version for version, ethertype in ETHERTYPES.items()}
    if protocol == GRE and inside[:2] in (b"\0\0", b"\x80\0") and inside[2:4] in versions:
        return Tunnel(8 if inside[0] else 4, versions[inside[2:4]])
    gue = inside[8:12]
    if protocol == UDP and inside[2:4] == GUE_PORT and gue in (b"\0\4\0\0", b"\0\x29\0\0"):
        return Tunnel(12, IN_IP[gue[1]])
    raise goes_up("not_tunnel")


def sound(header: int, tunnel: Tunnel, length: int, ecn: int) -> Outer:
    """The outer packet; it must be long enough for the tunnel's own headers."""
    before = header + tunnel.length
    if length < before:
        raise is_lost("outer")
    return Outer(before, tunnel.version, length - before, ecn)


def protocol_behind_extensions(packet: bytes) -> int:
    """The protocol behind at most LOOKED_BEHIND extension headers of an IPv6 packet."""
    protocol, at = packet[6], IPV6_HEADER
    for _ in range(LOOKED_BEHIND):
        if protocol not in EXTENSIONS or at + 2 > len(packet):
            break
        words = 0 if protocol == FRAGMENT else packet[at + 1]
        protocol, at = packet[at], at + 8 + 8 * words
    return protocol


def merge_ecn(inner: bytes, version: int, outer: int) -> bytes:
    """The inner packet with the tunnel's congestion mark; dropped if it is Not-ECT."""
    shift = 0 if version == 4 else 4
    own = inner[1] >> shift & 3
    merged = MERGED.get((own, outer), own)
    if merged is None:
        raise is_lost("ecn")
    if merged == own:
        return inner
    word = bytes((inner[0], inner[1] & ~(3 << shift) | merged << shift))
    if version == 6:
        return word + inner[2:]
    return word + inner[2:10] + adjust(inner[10:12], inner[:2], word) + inner[12:]
