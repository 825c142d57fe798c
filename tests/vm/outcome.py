# SPDX-License-Identifier: MIT
"""The fate of packets behind a director: sorts its frames, unwraps and reassembles them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from datagram import GRE, ICMP, ICMPV6, UDP, V4, V6, Header, put_together, read

ETHERNET = 14
TOO_BIG = {(ICMP, b"\x03\x04"), (ICMPV6, b"\x02\x00")}
TIME_EXCEEDED = {(ICMP, b"\x0b\x00"), (ICMPV6, b"\x03\x00")}
NETWORKS = {V4: bytes((10, 20, 0)), V6: bytes.fromhex("20010db800200000")}  # the reals'


class Fate(Enum):
    """The fate of a packet."""

    FORWARDED = "forwarded"
    IN_PIECES = "forwarded in pieces"
    TOO_BIG = "answered: too big"
    TIME_EXCEEDED = "answered: time exceeded"
    LEFT = "left to the kernel"


def header_of(frame: bytes) -> Header:
    """A frame's (first) IP header."""
    return read(frame[ETHERNET:])


def is_tunnelled(outer: Header) -> bool:
    """Whether a packet with this header is for a real."""
    return outer.ends[len(outer.ends) // 2 :].startswith(NETWORKS[outer.version])


def unwrapped(packet: bytes) -> bytes:
    """The packet inside a tunnel's packet, and the padding behind it."""
    outer = read(packet)
    if outer.protocol == GRE:
        return packet[outer.size + (8 if packet[outer.size] & 0x80 else 4) :]
    return packet[outer.size + (12 if outer.protocol == UDP else 0) :]


def kind(packet: bytes) -> bytes:
    """The tunnel's own fields about the packet inside: GRE's EtherType, GUE's port and header."""
    outer = read(packet)
    behind = packet[outer.size :]
    if outer.protocol == GRE:
        return behind[2:4]
    return behind[2:4] + behind[8:12] if outer.protocol == UDP else b""


def _answer(frame: bytes, header: Header) -> tuple[int, bytes]:
    at = ETHERNET + header.size
    return header.protocol, frame[at : at + 2]


def fate(frames: Sequence[bytes]) -> Fate:
    """A packet's fate, by the frames that left for it."""
    headers = [header_of(frame) for frame in frames]
    tunnelled = [header for header in headers if is_tunnelled(header)]
    if tunnelled:
        whole = len(tunnelled) == 1 and tunnelled[0].piece is None
        return Fate.FORWARDED if whole else Fate.IN_PIECES
    answers = {_answer(frame, header) for frame, header in zip(frames, headers, strict=True)}
    if answers & TOO_BIG:
        return Fate.TOO_BIG
    return Fate.TIME_EXCEEDED if answers & TIME_EXCEEDED else Fate.LEFT


def by_id(frames: Iterable[bytes]) -> dict[tuple[int, int], list[bytes]]:
    """The frames that left for each packet, by the version and ID in a tunnel or in an answer.

    The first fragment of a tunnel's packet may be too small for that. Then the last one is read.
    """
    found: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    begun: dict[int | None, list[bytes]] = defaultdict(list)
    for frame in frames:
        packet = frame[ETHERNET:]
        outer = read(packet)
        if is_tunnelled(outer):
            begun[outer.piece].append(packet)
            if not outer.more:
                pieces = begun.pop(outer.piece)
                inner = read(unwrapped(put_together(pieces) or packet))
                found[inner.version, inner.id] += [frame[:ETHERNET] + piece for piece in pieces]
        elif outer.protocol in (ICMP, ICMPV6):
            quoted = read(packet[outer.size + 8 :])
            found[quoted.version, quoted.id].append(frame)
    return found


@dataclass(frozen=True)
class Arrived:
    """What the real has in the end."""

    datagram: bytes | None  # reassembled; None: a part is missing
    kind: bytes
    link: bytes  # of the first frame
    outer: Header


def arrived(frames: Sequence[bytes]) -> Arrived:
    """What a real has of its frames: it reassembles the tunnel's packets, then the one inside."""
    outer: dict[int, list[bytes]] = defaultdict(list)
    for number, frame in enumerate(frames):
        packet = frame[ETHERNET:]
        piece = read(packet).piece
        outer[-1 - number if piece is None else piece].append(packet)
    whole = [packet for packet in map(put_together, outer.values()) if packet]
    inner = [unwrapped(packet) for packet in whole]
    return Arrived(
        datagram=put_together(inner) if inner else None,
        kind=kind(whole[0]) if whole else b"",
        link=frames[0][:ETHERNET],
        outer=header_of(frames[0]),
    )
