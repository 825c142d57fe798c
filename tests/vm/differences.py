# SPDX-License-Identifier: MIT
"""What became of a packet behind each director, and the differences that are meant.

Equal byte for byte, link header included, but for the outer ID where DF is not set (and so the
outer checksum): IPVS counts, xdplb draws lots. What else may differ is named here, a line each;
docs/fidelity.md has the reasons.
"""

from collections import defaultdict
from collections.abc import Iterable

import packets
from drawn import MTU, Sent
from line import ETHERNET

IP_HEADER = 20
INNER = {"ipip": 20, "gre": 24, "gre+csum": 28, "gue": 32, "gue+csum": 32}  # behind the outer one
IPIP, GRE, UDP, ICMP = 4, 47, 17, 1
GUE_PORT = (6080).to_bytes(2, "big")
TIME_EXCEEDED, FRAG_NEEDED = b"\x0b\x00", b"\x03\x04"
CE, ECT_0 = 3, 2

ENDS_HERE = "TTL <= 1: IPVS answers time exceeded, xdplb leaves it to the kernel"
QUOTED_LESS = "too big with DF: IPVS quotes 576 bytes after it took from the TTL, xdplb 28"
OPTIONS_TOO_BIG = "too big with DF and options: xdplb leaves it to the kernel"
FRAGMENTED = "too big without DF: IPVS fragments, xdplb leaves it to the kernel"
ECN = "ECN: IPVS sends ECT(0) for an inner CE, xdplb CE"
GUE_SOURCE = "GUE: another source port"
NOT_SUMMED = "UDP without a checksum: xdplb leaves out the tunnel's"
NO_CONNECTION = "RST of no connection: IPVS leaves it to its kernel, xdplb forwards by hash"
RECORDED = "options that record or steer: IPVS, behind the kernel's IP, has them obeyed"
PADDED = "the link's padding: IPVS cuts it off, xdplb keeps it"
MEANT = {
    ENDS_HERE,
    QUOTED_LESS,
    OPTIONS_TOO_BIG,
    FRAGMENTED,
    ECN,
    GUE_SOURCE,
    NOT_SUMMED,
    NO_CONNECTION,
    RECORDED,
    PADDED,
}


def is_tunnelled(frame: bytes) -> bool:
    """Whether a frame of the director's is for a real."""
    protocol, at = frame[ETHERNET + 9], ETHERNET + IP_HEADER
    if protocol == UDP:
        return is_later(frame) or frame[at + 2 : at + 4] == GUE_PORT
    return protocol in (IPIP, GRE)


def is_later(frame: bytes) -> bool:
    """A fragment other than the first."""
    return bool(int.from_bytes(frame[ETHERNET + 6 : ETHERNET + 8], "big") & 0x1FFF)


def _is_error(frame: bytes, kind: bytes) -> bool:
    at = ETHERNET + IP_HEADER
    return frame[ETHERNET + 9] == ICMP and frame[at : at + 2] == kind


def _inner_at(frame: bytes) -> int:
    at = ETHERNET + IP_HEADER
    if frame[ETHERNET + 9] == GRE:
        return at + (8 if frame[at] & 0x80 else 4)
    return at + {IPIP: 0, UDP: 12, ICMP: 8}[frame[ETHERNET + 9]]


def by_id(frames: Iterable[bytes]) -> dict[int, list[bytes]]:
    """What was sent for each packet, by its ID; of later fragments, by that of the first."""
    found: dict[int, list[bytes]] = defaultdict(list)
    fragments: dict[bytes, int] = {}
    for frame in frames:
        if is_tunnelled(frame) and is_later(frame):
            found[fragments[frame[ETHERNET + 4 : ETHERNET + 6]]].append(frame)
        elif is_tunnelled(frame) or frame[ETHERNET + 9] == ICMP:
            at = _inner_at(frame)
            id_ = int.from_bytes(frame[at + 4 : at + 6], "big")
            fragments[frame[ETHERNET + 4 : ETHERNET + 6]] = id_
            found[id_].append(frame)
    return found


def compare(sent: Sent, ipvs: list[bytes], xdplb: list[bytes]) -> set[str]:
    """The differences that were met; if there is another one, what it is."""
    forwarded = [frame for frame in xdplb if is_tunnelled(frame)]
    too_big = sent.length + INNER[sent.tunnel] > MTU
    if sent.resets and not ipvs:
        return {NO_CONNECTION}
    if sent.records:
        same = ipvs == xdplb or len(forwarded) == 1
        return _told(RECORDED, same)
    if sent.ttl <= 1:
        return _told(ENDS_HERE, _are(ipvs, TIME_EXCEEDED) and not forwarded)
    if too_big and not sent.df:
        return _told(FRAGMENTED, len(ipvs) > 1 and all(map(is_tunnelled, ipvs)) and not forwarded)
    if too_big and sent.header > IP_HEADER:
        return _told(OPTIONS_TOO_BIG, _are(ipvs, FRAG_NEEDED) and not forwarded)
    if too_big:
        if not (_are(ipvs, FRAG_NEEDED) and _are(xdplb, FRAG_NEEDED)):
            return _told(QUOTED_LESS, False)
        left, right = _said(ipvs[0]), _said(xdplb[0])
        return {QUOTED_LESS if left == right else f"IPVS {left.hex(' ')}, xdplb {right.hex(' ')}"}
    if not (len(ipvs) == len(xdplb) == len(forwarded) == 1):
        return {f"IPVS sent {len(ipvs)} frames, xdplb {len(xdplb)}"}
    return _compare_frames(sent, *ipvs, *xdplb)


def _told(difference: str, met: bool) -> set[str]:
    return {difference if met else f"not as meant: {difference}"}


def _are(frames: list[bytes], kind: bytes) -> bool:
    return len(frames) == 1 and _is_error(frames[0], kind)


def _said(frame: bytes) -> bytes:
    """Of an ICMP error: link, addresses, type, code, MTU, and of the quotation what both have.

    That is its first 28 bytes, but for TTL and checksum.
    """
    at = ETHERNET + IP_HEADER
    quoted = frame[at + 8 : at + 8 + 28]
    head = frame[:ETHERNET] + frame[at - 8 : at + 2] + frame[at + 4 : at + 8]
    return head + quoted[:8] + quoted[9:10] + quoted[12:]


def _compare_frames(sent: Sent, ipvs: bytes, xdplb: bytes) -> set[str]:
    met = set()
    left, right = bytearray(ipvs), bytearray(xdplb)
    for frame in (left, right):
        if packets.checksum(bytes(frame[ETHERNET : ETHERNET + IP_HEADER])):
            return {"wrong checksum of an outer header"}
    tos = ETHERNET + 1
    if sent.ecn == CE and left[tos] & 3 == ECT_0:
        met.add(ECN)
        left[tos] |= CE
        _clear(left, right, ETHERNET + 10, 2)
    if not sent.df:
        _clear(left, right, ETHERNET + 4, 2)
        _clear(left, right, ETHERNET + 10, 2)
    end = ETHERNET + int.from_bytes(right[ETHERNET + 2 : ETHERNET + 4], "big")
    if len(left) < len(right) and len(right) > end:
        met.add(PADDED)
        del right[end:]
    if sent.tunnel.startswith("gue"):
        at = ETHERNET + IP_HEADER
        if left[at : at + 2] != right[at : at + 2]:
            met.add(GUE_SOURCE)
        checks = [bytes(frame[at + 6 : at + 8]) for frame in (left, right)]
        _clear(left, right, at, 2)
        if all(map(any, checks)):  # of which the port is a part
            _clear(left, right, at + 6, 2)
    if sent.tunnel.endswith("+csum") and not sent.summed and left != right:
        met.add(NOT_SUMMED)
        left, right = (_without_sum(frame) for frame in (left, right))
    if left != right:
        met.add(f"IPVS {left.hex(' ')}, xdplb {right.hex(' ')}")
    return met


def _clear(left: bytearray, right: bytearray, at: int, length: int) -> None:
    left[at : at + length] = right[at : at + length] = bytes(length)


def _without_sum(frame: bytearray) -> bytearray:
    """Link, outer TOS, flags, TTL, protocol, addresses, and the packet inside."""
    outer = frame[ETHERNET : ETHERNET + IP_HEADER]
    kept = frame[:ETHERNET] + outer[:2] + outer[6:10] + outer[12:]
    return kept + frame[_inner_at(bytes(frame)) :]
