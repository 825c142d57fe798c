# SPDX-License-Identifier: MIT
"""Packets of all kinds that clients may send, by name and by lot. Each has an ID of its own."""

import functools
from dataclasses import dataclass
from random import Random
from typing import Any

from balanced import TUNNELS, Balanced
from scapy.layers.inet import IP, TCP, UDP, IPOption
from scapy.packet import Packet, Raw
from scapy.utils import checksum

from xdplb.lab import VIP

MTU = 1500
FIRST_PORT = 81
NO_FLAGS, DF = 0, 0x40
RECORD_ROUTE, SOURCE_ROUTE = 7, 0x83
FLAGS = (0x02, 0x10, 0x18, 0x11, 0x12, 0x01, 0x00, 0xC2) * 4 + (0x04, 0x14, 0x3F)  # few RSTs
# Options that no host acts on; of what records something on its way IPVS sends on the record.
OPTIONS = (b"\x01" * 4, b"\x01\x00\x00\x00", b"\x94\x04\x00\x00", b"\x88\x04\x12\x34", b"\x01" * 40)

# A service for each tunnel and protocol, all on one port.
SERVICES = [
    Balanced(
        protocol,
        FIRST_PORT + number,
        "mh",
        ("mh-port",),
        tuple((f"10.20.0.{10 * number + n}", n) for n in (1, 2, 3)),
        tunnel=tunnel,
    )
    for number, tunnel in enumerate(TUNNELS)
    for protocol in ("tcp", "udp")
]


@dataclass(frozen=True)
class Sent:
    """An IP packet, and what about it matters to the differences that are meant."""

    packet: bytes
    tunnel: str

    @property
    def id(self) -> int:
        """What it is known by wherever it turns up."""
        return int.from_bytes(self.packet[4:6], "big")

    @property
    def ttl(self) -> int:
        """Hops it may still go."""
        return self.packet[8]

    @property
    def ecn(self) -> int:
        """RFC 3168."""
        return self.packet[1] & 3

    @property
    def df(self) -> bool:
        """It must not be fragmented."""
        return bool(self.packet[6] & DF)

    @property
    def header(self) -> int:
        """The IP header's length, options included."""
        return (self.packet[0] & 0xF) * 4

    @property
    def length(self) -> int:
        """Of the IP packet, by its header: what may be behind it on the wire is not counted."""
        return int.from_bytes(self.packet[2:4], "big")

    @property
    def is_udp(self) -> bool:
        """Not TCP."""
        return self.packet[9] == 17

    @property
    def resets(self) -> bool:
        """It is a TCP segment with RST."""
        return not self.is_udp and bool(self.packet[self.header + 13] & 0x04)

    @property
    def records(self) -> bool:
        """It has an option that routers write to, or go by."""
        return self.header > 20 and self.packet[20] in (RECORD_ROUTE, SOURCE_ROUTE)

    @property
    def summed(self) -> bool:
        """Its transport has a checksum."""
        return not self.is_udp or any(self.packet[self.header + 6 : self.header + 8])


# ---- by name ---------------------------------------------------------------------------------

CLIENT = "198.51.100.7"


def by_hand(transport: Packet, ip_flags: Any = "DF", **fields: Any) -> bytes:
    """One to the service with IPIP, unless another port is said."""
    header = IP(**{"src": CLIENT, "dst": VIP, "flags": ip_flags, "ttl": 62, **fields})
    return bytes(header / transport)


def tcp(size: int = 40, flags: str = "A", port: int = FIRST_PORT, **fields: Any) -> bytes:
    """A segment: an IP packet of that size."""
    segment = TCP(sport=40000, dport=port, flags=flags, seq=1000, window=64240)
    return by_hand(segment / Raw(bytes(size - 40)) if size > 40 else segment, **fields)


def udp(size: int = 28, port: int = FIRST_PORT, check: int | None = None, **fields: Any) -> bytes:
    """A datagram: an IP packet of that size."""
    header = UDP(sport=5000, dport=port, chksum=check)
    return by_hand(header / Raw(bytes(n % 251 for n in range(size - 28))), **fields)


def _cases() -> dict[str, bytes]:
    options = {
        "no-operation": [IPOption(b"\x01" * 4)],
        "security": [IPOption(b"\x82\x0b" + bytes(9) + b"\x00")],
        "router alert": [IPOption(b"\x94\x04\x00\x00")],
        "record route": [IPOption(b"\x07\x0b\x04" + bytes(8) + b"\x00")],
        "source route": [IPOption(b"\x83\x07\x04" + bytes(4) + b"\x00")],
    }
    cases = {
        **{f"SYN, TOS {tos}": tcp(flags="S", tos=tos) for tos in range(256)},
        **{f"TTL {ttl}": tcp(ttl=ttl) for ttl in (0, 1, 2, 3, 64, 128, 254, 255)},
        **{f"TTL {ttl}, UDP": udp(ttl=ttl) for ttl in (0, 1, 2, 255)},
        **{f"flags {flags}": tcp(flags=flags) for flags in ("S", "SA", "FA", "R", "RA", "PA", "")},
        "RST of no connection": by_hand(TCP(sport=41000, dport=FIRST_PORT, flags="R")),
        **{f"options: {name}": tcp(options=o) for name, o in options.items()},
        "without DF": tcp(flags="S", size=48, ip_flags=0),
        "the reserved bit": tcp(ip_flags=6),
        "with data behind it": tcp() + b"padding",
        "UDP without data": udp(),
        "UDP without a checksum": udp(100, check=0),
        "UDP whose checksum is ffff": udp(check=0xFFFF),
    }
    for number, tunnel in enumerate(TUNNELS):
        port = FIRST_PORT + number
        for size in (40, 41, 576, *range(1466, 1501)):
            cases[f"{tunnel}: TCP of {size} bytes"] = tcp(size, port=port)
        for size in (28, 29, 30, 1467, 1468, 1480, 1481, 1500):
            cases[f"{tunnel}: UDP of {size} bytes, no DF"] = udp(size, port, ip_flags=0)
        cases[f"{tunnel}: too big, with options"] = tcp(
            1500 - 4, port=port, options=[IPOption(b"\x01" * 4)]
        )
        cases[f"{tunnel}: no checksum"] = udp(77, port, check=0)
    return cases


def with_id(packet: bytes, number: int) -> bytes:
    """The packet with this ID."""
    at = (packet[0] & 0xF) * 4
    head = packet[:4] + number.to_bytes(2, "big") + packet[6:10] + bytes(2) + packet[12:at]
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + packet[at:]


@functools.cache
def named() -> dict[str, Sent]:
    """The cases, with IDs from 1."""
    return {
        name: Sent(with_id(packet, number), _tunnel_of(packet))
        for number, (name, packet) in enumerate(_cases().items(), 1)
    }


def _tunnel_of(packet: bytes) -> str:
    at = (packet[0] & 0xF) * 4
    port = int.from_bytes(packet[at + 2 : at + 4], "big")
    return [*TUNNELS][port - FIRST_PORT]


# ---- by lot ----------------------------------------------------------------------------------


def drawn(random: Random, count: int, first_id: int) -> list[Sent]:
    """Any packets, with IDs from there."""
    clients = [_client(random) for _ in range(count // 4)]
    return [_draw(random, random.choice(clients), first_id + number) for number in range(count)]


def _client(random: Random) -> bytes:
    first = random.choice([n for n in range(1, 224) if n not in (10, 127, 192)])
    port = random.randint(21, 65535)
    return bytes([first]) + random.randbytes(3) + port.to_bytes(2, "big")


def _size(random: Random, least: int) -> int:
    dice = random.random()
    if dice < 0.6:
        return least + random.randint(0, 100)
    if dice < 0.85:
        return random.randint(1460, MTU)
    return random.randint(least, MTU)


def _draw(random: Random, client: bytes, number: int) -> Sent:
    options = random.choice(OPTIONS) if random.random() < 0.05 else b""
    is_udp = random.random() < 0.5
    least = 20 + len(options) + (8 if is_udp else 20)
    length = _size(random, least)
    tunnel = random.randrange(len(TUNNELS))
    ports = client[4:] + (FIRST_PORT + tunnel).to_bytes(2, "big")
    payload = random.randbytes(min(length - least, 16)).ljust(length - least, b"x")
    ends = client[:4] + bytes(map(int, VIP.split(".")))
    if is_udp:
        size = (8 + len(payload)).to_bytes(2, "big")
        check = bytes(2)
        if random.random() < 0.7:
            check = _sum(ends, 17, ports + size + bytes(2) + payload)
        segment = ports + size + check + payload
    else:
        flags = bytes([0x50, random.choice(FLAGS)])
        head = ports + random.randbytes(8) + flags + random.randbytes(2)
        urgent = random.randbytes(2)
        segment = head + _sum(ends, 6, head + bytes(2) + urgent + payload) + urgent + payload
    tos = random.getrandbits(8)
    ttl = random.choice((1, 2, 3, 64, 64, 64, 128, 255, random.randint(4, 254)))
    df = DF if random.random() < 0.7 else NO_FLAGS
    head = bytes([0x45 + len(options) // 4, tos]) + length.to_bytes(2, "big")
    head += number.to_bytes(2, "big") + bytes([df, 0, ttl, 17 if is_udp else 6])
    check = checksum(head + bytes(2) + ends + options).to_bytes(2, "big")
    return Sent(head + check + ends + options + segment, [*TUNNELS][tunnel])


def _sum(ends: bytes, protocol: int, segment: bytes) -> bytes:
    pseudo = ends + bytes([0, protocol]) + len(segment).to_bytes(2, "big")
    return (checksum(pseudo + segment) or 0xFFFF).to_bytes(2, "big")
