# SPDX-License-Identifier: MIT
"""One client's packets of both families, made with scapy."""

from typing import Any

from datagram import HEADER, V4, V6
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw
from ways import VIPS, Way

CLIENTS = {V4: "198.51.100.7", V6: "2001:db8:7::7"}
NOBODY = 40002  # a client port that never begins a flow
# Fields that the two families name differently.
NAMES: dict[int, dict[str, str]] = {V4: {}, V6: {"tos": "tc", "ttl": "hlim"}}
# An authentication header (RFC 4302) of 24 bytes, with TCP behind it.
AUTHENTICATION = Raw(bytes([6, 4]) + bytes(22))


def by_hand(way: Way, transport: Packet, **fields: Any) -> bytes:
    """A client's IP packet, with options or extensions. IPv4 has DF, or `ip_flags`."""
    names = NAMES[way.inner]
    extensions = fields.pop("extensions", ())
    df = fields.pop("ip_flags", "DF")
    values = {"src": CLIENTS[way.inner], "dst": VIPS[way.inner]}
    values |= {names.get(name, name): value for name, value in ({"ttl": 62} | fields).items()}
    header = IP(flags=df, **values) if way.inner == V4 else IPv6(**values)
    for extension in extensions:
        header /= extension
    if AUTHENTICATION in extensions:
        header[IPv6].nh = 51
    return bytes(header / transport)


def tcp(way: Way, size: int = 0, flags: str = "A", sport: int = 40000, **fields: Any) -> bytes:
    """A segment: an IP packet of `size` bytes, and any options or extensions."""
    segment = TCP(sport=sport, dport=way.port, flags=flags, seq=1000, window=64240)
    room = size - HEADER[way.inner] - 20
    return by_hand(way, segment / Raw(bytes(room)) if room > 0 else segment, **fields)


def udp(way: Way, size: int = 0, check: int | None = None, **fields: Any) -> bytes:
    """A datagram: an IP packet of `size` bytes."""
    header = UDP(sport=5000, dport=way.port, chksum=check)
    room = max(size - HEADER[way.inner] - 8, 0)
    return by_hand(way, header / Raw(bytes(n % 251 for n in range(room))), **fields)
