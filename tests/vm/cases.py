# SPDX-License-Identifier: MIT
"""Named kinds of packets that clients may send, to VIPs of both families."""

import functools
import struct
from collections.abc import Sequence

import errors
import pieces
from by_hand import AUTHENTICATION, tcp, udp
from datagram import HEADER, V4, V6, read, with_id
from scapy.layers.inet import IPOption
from scapy.layers.inet6 import (
    HBHOptUnknown,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Packet
from sent import Sent
from ways import MTU, WAYS, Way

PLAIN = {version: Way(version, version, "ipip") for version in (V4, V6)}
# IPv6 has only some values, to save time: only the place of TOS and ECN differs.
TOS = {V4: range(256), V6: [tos for tos in range(256) if tos >> 2 in (0, 0x08, 0x2E, 0x3F)]}


def _of_either(way: Way) -> dict[str, bytes]:
    """Cases that do not depend on the tunnel."""
    return {
        **{f"SYN, TOS {tos}": tcp(way, flags="S", tos=tos) for tos in TOS[way.inner]},
        **{f"TTL {ttl}": tcp(way, ttl=ttl) for ttl in (0, 1, 2, 3, 64, 128, 254, 255)},
        **{f"TTL {ttl}, UDP": udp(way, ttl=ttl) for ttl in (0, 1, 2, 255)},
        **{f"flags {flags}": tcp(way, flags=flags) for flags in ("S", "SA", "FA", "R", "RA", "PA")},
        "no flags": tcp(way, flags=""),
        "RST of no connection": tcp(way, flags="R", sport=41000),
        "with data behind it": tcp(way) + b"padding",
        "UDP without data": udp(way),
        "UDP without a checksum": udp(way, 100, check=0),
        "UDP whose checksum is ffff": udp(way, check=0xFFFF),
    }


def _of_ipv4(way: Way) -> dict[str, bytes]:
    options = {
        "no-operation": b"\x01" * 4,
        "security": b"\x82\x0b" + bytes(9) + b"\x00",
        "router alert": b"\x94\x04\x00\x00",
        "record route": b"\x07\x0b\x04" + bytes(8) + b"\x00",
        "source route": b"\x83\x07\x04" + bytes(4) + b"\x00",
    }
    return {
        **{f"options: {name}": tcp(way, options=[IPOption(o)]) for name, o in options.items()},
        "without DF": tcp(way, 48, ip_flags=0),
        "the reserved bit": tcp(way, ip_flags=6),
    }


def _of_ipv6(way: Way) -> dict[str, bytes]:
    hop_by_hop, options = IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()
    long_options = IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optdata=bytes(100))])
    visited = IPv6ExtHdrRouting(type=4, segleft=0, addresses=["2001:db8::1"])
    chains = {
        "hop-by-hop": [hop_by_hop],
        "destination options": [options],
        "destination options of 104 bytes": [long_options],
        "a routing header of type 0, visited": [IPv6ExtHdrRouting(type=0, segleft=0)],
        "a segment routing header, visited": [visited],
        "four": [hop_by_hop, options, visited, options],
        "five": [hop_by_hop, options, visited, options, options],
        "one to visit": [IPv6ExtHdrRouting(type=2, segleft=1, addresses=["2001:db8::1"])],
        "authentication": [AUTHENTICATION],
        "hop-by-hop that nobody knows": [_unknown(0x1E)],
        "hop-by-hop to be discarded by who does not know it": [_unknown(0x5E)],
    }
    return {
        **{f"extensions: {name}": tcp(way, extensions=chain) for name, chain in chains.items()},
        "extensions: four, UDP": udp(way, extensions=chains["four"]),
    }


def _unknown(kind: int) -> Packet:
    return IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=kind, optdata=bytes(4))])


def _of_way(way: Way) -> dict[str, bytes]:
    """Cases that depend on the tunnel."""
    least, fits = HEADER[way.inner], way.fits
    sizes = (least + 20, least + 21, 576, fits - 1, fits, fits + 1, fits + 2, MTU - 1, MTU)
    cases = {f"TCP of {size} bytes": tcp(way, size) for size in sizes}
    cases |= {f"UDP of {size} bytes": udp(way, size) for size in (least + 9, fits, fits + 1)}
    cases["UDP without a checksum"] = udp(way, 77, check=0)
    if way.inner == V4:
        for size in (28, 29, 30, fits - 1, fits, fits + 1, MTU):
            cases[f"UDP of {size} bytes, no DF"] = udp(way, size, ip_flags=0)
        nothing = [IPOption(b"\x01" * 4)]
        cases["too big, with options"] = tcp(way, MTU - 4, options=nothing)
    else:
        cases["an extension"] = tcp(way, extensions=[IPv6ExtHdrDestOpt()])
    return cases


def _gre_zero(way: Way) -> bytes:
    """A packet whose client is chosen so that GRE's checksum is 0.

    The checksum covers 0x8800 and the packet inside. Header and segment, with their own checksums,
    sum to 0, less the pseudo header.
    """
    ends = struct.unpack("!4H", read(tcp(way)).ends)
    last = (0x8800 - ends[0] - ends[2] - ends[3] - 6 - 20) % 0xFFFF
    return tcp(way, src=f"198.51.{last >> 8}.{last & 0xFF}")


def _cases() -> dict[str, tuple[Way, bytes | Sequence[bytes]]]:
    cases: dict[str, tuple[Way, bytes | Sequence[bytes]]] = {}
    for way in WAYS:
        kinds = (_of_way(way), pieces.of_way(way), errors.of_way(way))
        cases |= {f"{way}: {name}": (way, it) for kind in kinds for name, it in kind.items()}
    for version, way in PLAIN.items():
        own = _of_ipv4(way) if version == V4 else _of_ipv6(way)
        kinds = (_of_either(way), own, pieces.of_family(way), errors.of_family(way))
        cases |= {f"IPv{version}: {name}": (way, it) for kind in kinds for name, it in kind.items()}
    zero = Way(V4, V4, "gre+csum")
    cases["GRE's checksum is 0"] = zero, _gre_zero(zero)
    return cases


@functools.cache
def named() -> dict[str, Sent]:
    """The cases, numbered from 1."""
    return {
        name: Sent(tuple(with_id(piece, number) for piece in _pieces(it)), way)
        for number, (name, (way, it)) in enumerate(_cases().items(), 1)
    }


def _pieces(it: bytes | Sequence[bytes]) -> Sequence[bytes]:
    return [it] if isinstance(it, bytes) else it
