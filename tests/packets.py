# SPDX-License-Identifier: MIT
"""Frames, as bytes: what clients send, and what the director must make of them.

Expected frames are built from the RFCs with scapy, never with the program's own arithmetic.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet import fragment as scapy_fragment
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrFragment,
    fragment6,
)
from scapy.layers.l2 import ARP, GRE, Dot1AD, Dot1Q, Ether
from scapy.packet import NoPayload, Packet, Raw
from scapy.utils import checksum

CIP, VIP, DIP, RIP = "192.168.1.200", "10.0.0.80", "192.168.2.200", "192.168.0.7"
CIP6, VIP6, DIP6 = "2001:db8:1::200", "2001:db8:80::80", "2001:db8:2::200"
RIP6 = "2001:db8:9::7"
SPORT, DPORT = 40000, 80
IPIP_LENGTH = 20
QUOTED6 = 1280 - 40 - 8  # bytes quoted by packet too big: as many as fit IPv6's least MTU
TAG_TYPES = (b"\x81\x00", b"\x88\xa8")


@dataclass(frozen=True)
class Hop:
    """Ethernet addresses of a frame that leaves the director."""

    dst: str
    src: str


DIP_MAC, GATEWAY_MAC = "02:00:00:00:02:c8", "02:00:00:00:02:01"
GATEWAY = Hop(dst=GATEWAY_MAC, src=DIP_MAC)


# What clients send. `tags` are VLAN tags, the outermost first; other fields are scapy's.


def link(*tags: Packet, **fields: Any) -> Packet:
    """The Ethernet header of a frame from the gateway to the director."""
    frame = Ether(**{"dst": DIP_MAC, "src": GATEWAY_MAC, **fields})
    for tag in tags:
        frame /= tag
    return frame


def ip(
    transport: Packet, *, tags: tuple[Packet, ...] = (), ip_flags: str = "DF", **fields: Any
) -> bytes:
    """A client's packet to the VIP. DF is set, as Linux's TCP does."""
    values = {"src": CIP, "dst": VIP, "flags": ip_flags, "id": 0x1234, "ttl": 62, **fields}
    header = IP(**values)
    return bytes(link(*tags) / header / transport)


def ip6(
    transport: Packet,
    *,
    tags: tuple[Packet, ...] = (),
    extensions: tuple[Packet, ...] = (),
    **fields: Any,
) -> bytes:
    """A client's IPv6 packet to the VIP, with extension headers."""
    header = IPv6(**{"src": CIP6, "dst": VIP6, "hlim": 62, "fl": 0x54321, **fields})
    for extension in extensions:
        header /= extension
    return bytes(link(*tags) / header / transport)


def tcp(
    flags: str,
    *,
    sport: int = SPORT,
    dport: int = DPORT,
    payload: bytes = b"",
    network: Callable[..., bytes] = ip,
    **fields: Any,
) -> bytes:
    """A TCP segment to the VIP. `network` makes the packet around it: `ip` or `ip6`."""
    segment = TCP(sport=sport, dport=dport, flags=flags, seq=1000, window=64240)
    return network(segment / Raw(payload) if payload else segment, **fields)


def syn(**fields: Any) -> bytes:
    """A segment that opens a connection."""
    return tcp("S", **fields)


def ack(**fields: Any) -> bytes:
    """A segment of an open connection."""
    return tcp("A", **fields)


def fin(**fields: Any) -> bytes:
    """A segment that closes a connection."""
    return tcp("FA", **fields)


def rst(**fields: Any) -> bytes:
    """A segment that resets a connection."""
    return tcp("R", **fields)


def udp(
    *,
    sport: int = SPORT,
    dport: int = DPORT,
    payload: bytes = b"question",
    network: Callable[..., bytes] = ip,
    **fields: Any,
) -> bytes:
    """A datagram to the VIP."""
    return network(UDP(sport=sport, dport=dport) / Raw(payload), **fields)


def icmp(**fields: Any) -> bytes:
    """A ping to the VIP."""
    return ip(ICMP() / Raw(b"ping"), **fields)


# Somewhere between a real and its clients.
ROUTER, ROUTER6 = "198.51.100.1", "2001:db8:99::1"


def answer(transport: Packet | None = None, **fields: Any) -> Packet:
    """A real's packet to the client, which a router refuses. By default TCP."""
    header = IP(**{"src": VIP, "dst": CIP, "flags": "DF", "id": 0x4321, "ttl": 60, **fields})
    return header / (transport or TCP(sport=DPORT, dport=SPORT, flags="A", seq=7) / Raw(bytes(64)))


def icmp_error(
    quoted: Packet | bytes,
    *,
    error: Packet | None = None,
    quote: int = 28,
    padding: bytes = b"",
    **fields: Any,
) -> bytes:
    """A router's error about `quoted`; it quotes `quote` bytes. By default: too big."""
    header = error or ICMP(type="dest-unreach", code="fragmentation-needed", nexthopmtu=1400)
    body = header / Raw(bytes(quoted)[:quote])
    return ip(body, **{"src": ROUTER, "ip_flags": "", **fields}) + padding


def answer6(transport: Packet | None = None, **fields: Any) -> Packet:
    """As answer(), in IPv6."""
    header = IPv6(**{"src": VIP6, "dst": CIP6, "hlim": 60, **fields})
    return header / (transport or TCP(sport=DPORT, dport=SPORT, flags="A", seq=7) / Raw(bytes(64)))


def icmp6_error(
    quoted: Packet | bytes, *, error: Packet | None = None, quote: int = 1232, **fields: Any
) -> bytes:
    """A router's error about `quoted`; it quotes at most `quote` bytes. By default: too big."""
    body = (error or ICMPv6PacketTooBig(mtu=1400)) / Raw(bytes(quoted)[:quote])
    return ip6(body, **{"src": ROUTER6, **fields})


def icmp6(**fields: Any) -> bytes:
    """A ping to the VIP."""
    return ip6(ICMPv6EchoRequest(data=b"ping"), **fields)


def arp(*tags: Packet) -> bytes:
    """An ARP request for the VIP."""
    return bytes(link(*tags, dst="ff:ff:ff:ff:ff:ff") / ARP(pdst=VIP))


def ipv6(*tags: Packet) -> bytes:
    """An IPv6 packet to an address that is no VIP."""
    return bytes(link(*tags) / IPv6(dst="2001:db8::80") / TCP(dport=DPORT, flags="S"))


def vlan(number: int, **fields: Any) -> Packet:
    """A customer's tag, IEEE 802.1Q."""
    return Dot1Q(vlan=number, **fields)


def service_vlan(number: int, **fields: Any) -> Packet:
    """A provider's tag, IEEE 802.1ad."""
    return Dot1AD(vlan=number, **fields)


def fragments(
    size: int = 1400, transport: Packet | None = None, *, payload: int = 3000, **fields: Any
) -> list[bytes]:
    """The fragments of a large packet, by default a datagram. Byte n of its payload is n."""
    header = IP(**{"src": CIP, "dst": VIP, "id": 77, **fields})
    data = Raw(bytes(n & 0xFF for n in range(payload)))
    packet = header / (transport or UDP(sport=SPORT, dport=DPORT)) / data
    return [bytes(link() / part) for part in scapy_fragment(packet, size)]


def fragments6(
    size: int = 1400,
    transport: Packet | None = None,
    *,
    payload: int = 3000,
    id: int = 77,  # noqa: A002
    before: tuple[Packet, ...] = (),
    behind: tuple[Packet, ...] = (),
    **fields: Any,
) -> list[bytes]:
    """As fragments(), in IPv6, with extension headers before and behind the fragment header."""
    header = IPv6(**{"src": CIP6, "dst": VIP6, "hlim": 62, **fields})
    for extension in (*before, IPv6ExtHdrFragment(id=id), *behind):
        header /= extension
    data = Raw(bytes(n & 0xFF for n in range(payload)))
    packet = header / (transport or UDP(sport=SPORT, dport=DPORT)) / data
    return [bytes(link() / part) for part in fragment6(packet, size)]


def from_client(frame: bytes, src: str, sport: int) -> bytes:
    """The frame, from another client. This is a hundred times as fast as scapy.

    The transport's checksum becomes wrong. The director does not look at it.
    """
    at = len(split(frame)[0]) + 14
    if ":" in src:
        address = IPv6Address(src).packed
        return (
            frame[: at + 8]
            + address
            + frame[at + 24 : at + 40]
            + sport.to_bytes(2, "big")
            + (frame[at + 42 :])
        )
    header = bytearray(frame[at : at + 20])
    header[10:12] = bytes(2)
    header[12:16] = bytes(map(int, src.split(".")))
    header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    return frame[:at] + bytes(header) + sport.to_bytes(2, "big") + frame[at + 22 :]


# What the director makes of them.


def mac(text: str) -> bytes:
    """A MAC address's bytes."""
    return bytes.fromhex(text.replace(":", ""))


def split(frame: bytes) -> tuple[bytes, bytes]:
    """A frame's VLAN tags, and its IP packet with the padding behind it."""
    at = 12
    while frame[at : at + 2] in TAG_TYPES:
        at += 4
    return frame[12:at], frame[at + 2 :]


def is_ipv6(packet: bytes) -> bool:
    """Whether an IP packet is IPv6, by its version field."""
    return packet[0] >> 4 == 6


def length(packet: bytes) -> int:
    """An IP packet's length in bytes, by its header."""
    if is_ipv6(packet):
        return 40 + int.from_bytes(packet[4:6], "big")
    return int.from_bytes(packet[2:4], "big")


def spend_ttl(packet: bytes) -> bytes:
    """The packet with TTL or hop limit less 1; IPv4's checksum is adjusted (RFC 1624)."""
    if is_ipv6(packet):
        return packet[:7] + bytes([packet[7] - 1]) + packet[8:]
    check = (int.from_bytes(packet[10:12], "big") + 0x0100) % 0xFFFF
    return packet[:8] + bytes([packet[8] - 1, packet[9]]) + check.to_bytes(2, "big") + packet[12:]


def ipip(frame: bytes, dst: str = RIP, **fields: Any) -> bytes:
    """The client's frame as it must leave for a real, in IP in IP (RFC 2003, 2473, 6040)."""
    protocol = 41 if is_ipv6(split(frame)[1]) else 4
    return tunnelled(frame, NoPayload(), protocol, dst=dst, **fields)


def tunnelled(
    frame: bytes,
    between: Packet,
    protocol: int,
    *,
    dst: str = RIP,
    src: str = "",
    hop: Hop = GATEWAY,
    tags: tuple[Packet, ...] = (),
    id: int = 0,  # noqa: A002
) -> bytes:
    """The client's frame behind an outer header of this protocol, and the headers `between`.

    The outer header has the family of `dst`. tags: those of the route; the client's frame may have
    come with others. id: the identification of an outer IPv4 header. It is 0 for a client's packet
    with DF; for others, IPv6 too, it is any number (`outer_id`).
    """
    _, packet = split(frame)
    inner = spend_ttl(packet)
    ipv6_inside = is_ipv6(packet)
    tos = inner[0] << 4 & 0xF0 | inner[1] >> 4 if ipv6_inside else inner[1]
    ttl = inner[7] if ipv6_inside else inner[8]
    if ":" in dst:
        outer = IPv6(tc=tos, hlim=ttl, nh=protocol, src=src or DIP6, dst=dst)
    else:
        flags = "DF" if not ipv6_inside and inner[6] & 0x40 else 0
        outer = IP(tos=tos, id=id, flags=flags, ttl=ttl, proto=protocol, src=src or DIP, dst=dst)
    carried = outer / between / Raw(inner[: length(inner)])
    addresses = mac(hop.dst) + mac(hop.src)
    ethertype = b"\x86\xdd" if ":" in dst else b"\x08\x00"
    way = bytes(link(*tags))[12:-2]
    return addresses + way + ethertype + bytes(carried) + inner[length(inner) :]


def gre(frame: bytes, *, checksum: bool = False, **fields: Any) -> bytes:
    """The client's frame in GRE (RFC 2784)."""
    ethertype = 0x86DD if is_ipv6(split(frame)[1]) else 0x0800
    return tunnelled(frame, GRE(proto=ethertype, chksum_present=checksum), 47, **fields)


def gue(
    frame: bytes, *, sport: int, dport: int = 6080, check: bool = False, **fields: Any
) -> bytes:
    """The client's frame in UDP and GUE version 0, without options."""
    udp_header = UDP(sport=sport, dport=dport) if check else UDP(sport=sport, dport=dport, chksum=0)
    inside = 41 if is_ipv6(split(frame)[1]) else 4
    return tunnelled(frame, udp_header / Raw(bytes((0, inside, 0, 0))), 17, **fields)


def outer_ports(frame: bytes) -> tuple[int, int]:
    """The UDP ports behind a frame's outer header."""
    packet = split(frame)[1]
    header = packet[40:44] if is_ipv6(packet) else packet[20:24]
    return int.from_bytes(header[:2], "big"), int.from_bytes(header[2:], "big")


def outer_id(frame: bytes) -> int:
    """The identification of a frame's (first) IP header; 0 for IPv6, which has none."""
    packet = split(frame)[1]
    return 0 if is_ipv6(packet) else int.from_bytes(packet[4:6], "big")


def outer_src(frame: bytes) -> str:
    """The source of a frame's (first) IP header."""
    packet = split(frame)[1]
    return str(ip_address(packet[8:24] if is_ipv6(packet) else packet[12:16]))


def outer_dst(frame: bytes) -> str:
    """The destination of a frame's (first) IP header."""
    packet = split(frame)[1]
    return str(ip_address(packet[24:40] if is_ipv6(packet) else packet[16:20]))


def too_big(frame: bytes, mtu: int) -> bytes:
    """The answer to a frame whose packet is larger than `mtu` (RFC 792, RFC 1191).

    Its precedence is Internetwork Control, as in Linux's icmp_send(); it has no ECN.
    """
    tags, packet = split(frame)
    client, vip = packet[12:16], packet[16:20]
    answer = (
        IP(
            tos=packet[1] & 0x1C | 0xC0,
            id=0,
            ttl=64,
            src=".".join(map(str, vip)),
            dst=".".join(map(str, client)),
        )
        / ICMP(type="dest-unreach", code="fragmentation-needed", nexthopmtu=mtu)
        / Raw(packet[:28])
    )
    return frame[6:12] + frame[:6] + tags + b"\x08\x00" + bytes(answer)


def too_big6(frame: bytes, mtu: int) -> bytes:
    """The answer to a frame whose IPv6 packet is larger than `mtu` (RFC 4443 §3.2)."""
    tags, packet = split(frame)
    client, vip = packet[8:24], packet[24:40]
    answer = (
        IPv6(hlim=64, src=str(IPv6Address(vip)), dst=str(IPv6Address(client)))
        / ICMPv6PacketTooBig(mtu=mtu)
        / Raw(packet[:QUOTED6])
    )
    return frame[6:12] + frame[:6] + tags + b"\x86\xdd" + bytes(answer)


# What pytest shows when two frames differ.


def describe(frame: bytes) -> list[str]:
    """A frame, field by field."""
    return [repr(layer) for layer in Ether(frame).show(dump=True).splitlines()]
