# SPDX-License-Identifier: MIT
"""The allowed differences between both directors, one line each. docs/fidelity.md says why.

All else is equal byte for byte, with the link header. Only the outer ID without DF differs too (and
so the outer checksum): IPVS uses a counter, xdplb a random number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from datagram import HEADER, V4, V6, Header, is_summed, read
from outcome import ETHERNET, Fate, arrived, fate, header_of, kind, unwrapped
from sent import Sent

ENDS_HERE = "TTL <= 1: IPVS answers time exceeded, xdplb leaves it to the kernel"
QUOTED = "too big: IPVS quotes it after it took from the TTL, and more of IPv4; xdplb before"
QUOTED_WHOLE = "pieces too big: IPVS quotes the whole, xdplb the first piece"
OPTIONS_TOO_BIG = "too big with DF and options: xdplb leaves it to the kernel"
FRAGMENTED = "too big without DF: IPVS fragments, xdplb leaves it to the kernel"
ECN = "ECN: IPVS sends ECT(0) for an inner CE, xdplb CE"
GUE_SOURCE = "GUE: another source port"
GRE_ZERO = "GRE's checksum is 0: IPVS sends ffff"
NOT_SUMMED = "nothing to sum by: xdplb leaves out the tunnel's checksum"
NO_CONNECTION = "RST of no connection: IPVS leaves it to its kernel, xdplb goes by the hash"
OBEYED = "options for hosts on the way: IPVS, behind the kernel's IP, has them obeyed"
EXTENSIONS = (
    "over four extension headers, authentication, hosts to visit: xdplb leaves it to the kernel"
)
PADDED = "the link's padding: IPVS cuts it off, xdplb keeps it"
REASSEMBLED = "in pieces: IPVS sends the whole, xdplb each piece"
OUT_OF_ORDER = "pieces before their first: IPVS waits for it, xdplb leaves them to the kernel"
DF_OF_PIECES = "IPv6 in pieces in IPv4: IPVS has DF on some of what it cuts, xdplb on none"
INCOMPLETE = "a piece is missing: IPVS sends nothing, xdplb what there is"
SPLIT = "TCP's header in pieces: xdplb leaves it to the kernel"
PIECES_WITH_DF = (
    "pieces with DF: IPVS answers that the whole is too big, xdplb sends those that fit"
)
NO_RECORD = "an error about no connection: IPVS leaves it to its kernel, xdplb goes by the hash"
ODD_QUOTE = "an error that quotes options or too little: xdplb leaves it to the kernel"
WRONG_ERROR = "an ICMP error with a wrong checksum: IPVS drops it, xdplb sends it"
ERROR_IN_PIECES = "an ICMP error in pieces: xdplb leaves it to the kernel"

CE, ECT_0 = 3, 2
SAID = 4  # parts of _said() before the quotation
ECN_AT = {V4: 0, V6: 4}  # bits that ECN is shifted by in a header's second byte


@dataclass(frozen=True)
class Rule:
    """A difference of fates: which packets it concerns, and the fates with each director."""

    difference: str
    concerns: Callable[[Sent], bool]
    ipvs: set[Fate]
    xdplb: set[Fate]


SENT = {Fate.FORWARDED, Fate.IN_PIECES}
LEFT, TOO_BIG, TIME_EXCEEDED = {Fate.LEFT}, {Fate.TOO_BIG}, {Fate.TIME_EXCEEDED}
RULES = [
    Rule(NO_CONNECTION, lambda sent: sent.resets, LEFT, SENT | TOO_BIG),
    Rule(OBEYED, lambda sent: sent.is_obeyed, LEFT, SENT),
    Rule(ENDS_HERE, lambda sent: sent.header.ttl <= 1, TIME_EXCEEDED, LEFT),
    Rule(OPTIONS_TOO_BIG, lambda sent: sent.too_big and sent.header.has_options, TOO_BIG, LEFT),
    Rule(FRAGMENTED, lambda sent: sent.too_big and sent.may_be_cut, {Fate.IN_PIECES}, LEFT),
    Rule(EXTENSIONS, lambda sent: sent.is_extended, SENT, LEFT),
    Rule(INCOMPLETE, lambda sent: not sent.is_complete, LEFT, SENT),
    Rule(SPLIT, lambda sent: sent.splits_tcp, SENT, LEFT),
    Rule(PIECES_WITH_DF, lambda sent: sent.in_pieces and sent.header.df, TOO_BIG, SENT),
    Rule(WRONG_ERROR, lambda sent: not is_summed(sent.packet), LEFT, {Fate.FORWARDED}),
    Rule(NO_RECORD, lambda sent: sent.is_about_nobody, LEFT, {Fate.FORWARDED}),
    Rule(ODD_QUOTE, lambda sent: sent.quotes_oddly, {Fate.FORWARDED}, LEFT),
    Rule(ERROR_IN_PIECES, lambda sent: sent.is_error and sent.in_pieces, SENT, LEFT),
]
MEANT = {rule.difference for rule in RULES} | {
    QUOTED,
    QUOTED_WHOLE,
    ECN,
    GUE_SOURCE,
    GRE_ZERO,
    NOT_SUMMED,
    PADDED,
    REASSEMBLED,
    OUT_OF_ORDER,
    DF_OF_PIECES,
}
# Not seen with every kernel: by the source IPVS drops it, but Debian's 6.1.0-56 sends it.
BY_KERNEL = {WRONG_ERROR}


def compare(sent: Sent, ipvs: Sequence[bytes], xdplb: Sequence[bytes]) -> set[str]:
    """The allowed differences that were found, and a description of any other one."""
    fates = fate(ipvs), fate(xdplb)
    for rule in RULES:
        if fates[0] in rule.ipvs and fates[1] in rule.xdplb and rule.concerns(sent):
            return {rule.difference}
    if sent.is_obeyed and fates == (Fate.FORWARDED, Fate.FORWARDED):
        return {OBEYED}
    if sent.in_pieces and SENT.issuperset(fates):
        return _compare_arrived(sent, ipvs, xdplb)
    if fates[0] != fates[1]:
        return {f"IPVS {fates[0].value}, xdplb {fates[1].value}"}
    if fates[0] is Fate.LEFT:
        return set()
    if len(ipvs) != 1 or len(xdplb) != 1:
        return {f"IPVS sent {len(ipvs)} frames, xdplb {len(xdplb)}"}
    if fates[0] is Fate.TOO_BIG:
        return _compare_answers(sent, *ipvs, *xdplb)
    return _compare_frames(sent, *ipvs, *xdplb)


def _both(ipvs: bytes | None, xdplb: bytes | None) -> str:
    left, right = (each.hex(" ") if each else "nothing whole" for each in (ipvs, xdplb))
    return f"IPVS {left}, xdplb {right}"


# ---- answers ---------------------------------------------------------------------------------


def _compare_answers(sent: Sent, ipvs: bytes, xdplb: bytes) -> set[str]:
    left, right = _said(ipvs), _said(xdplb)
    if sent.in_pieces:
        left, right = left[:SAID], right[:SAID]
    if left != right or not (is_summed(ipvs[ETHERNET:]) and is_summed(xdplb[ETHERNET:])):
        return {_both(ipvs, xdplb)}
    return {QUOTED_WHOLE if sent.in_pieces else QUOTED}


def _said(frame: bytes) -> list[bytes]:
    """An ICMP error's link, addresses, type, code and MTU, and the compared part of the quotation.

    For IPv6 that is all of it; for IPv4 the first 28 bytes; both without TTL and checksum.
    """
    header = header_of(frame)
    icmp = frame[ETHERNET + header.size :]
    said, quoted = [frame[:ETHERNET], header.ends, icmp[:2], icmp[4:8]], icmp[8:]
    if header.version == V4:
        return [*said, quoted[:8], quoted[9:10], quoted[12:28]]
    return [*said, quoted[:7], quoted[8:]]


# ---- packets in tunnels ----------------------------------------------------------------------


def _compare_frames(sent: Sent, ipvs: bytes, xdplb: bytes) -> set[str]:
    left, right = bytearray(ipvs), bytearray(xdplb)
    outer = header_of(ipvs)
    if not (is_summed(ipvs[ETHERNET:]) and is_summed(xdplb[ETHERNET:])):
        return {"wrong checksum of an outer header"}
    met = set()
    if _copied_ce(sent, left, right, outer):
        met.add(ECN)
    if outer.version == V4 and not outer.df:
        _clear(left, right, ETHERNET + 4, 2)
        _clear(left, right, ETHERNET + 10, 2)
    end = ETHERNET + header_of(xdplb).length
    if len(left) < len(right) and len(right) > end:
        met.add(PADDED)
        del right[end:]
    met |= _compare_tunnels(sent, left, right, ETHERNET + HEADER[outer.version])
    if sent.way.tunnel.endswith("+csum") and not sent.summed and left != right:
        met.add(NOT_SUMMED)
        if _unsummed(left) == _unsummed(right):
            return met
    if left != right:
        met.add(_both(left, right))
    return met


def _copied_ce(sent: Sent, left: bytearray, right: bytearray, outer: Header) -> bool:
    """Whether IPVS made ECT(0) of CE. Then `left` gets CE again, and the checksums are cleared."""
    at, shift = ETHERNET + 1, ECN_AT[outer.version]
    if sent.header.ecn != CE or outer.ecn != ECT_0:
        return False
    left[at] |= CE << shift
    if outer.version == V4:
        _clear(left, right, ETHERNET + 10, 2)
    return True


def _compare_tunnels(sent: Sent, left: bytearray, right: bytearray, at: int) -> set[str]:
    """The differences of each kind of tunnel. The fields that differ are cleared."""
    met = set()
    if sent.way.tunnel.startswith("gue"):
        if left[at : at + 2] != right[at : at + 2]:
            met.add(GUE_SOURCE)
        ports, checks = _words(left, right, at), _words(left, right, at + 6)
        _clear(left, right, at, 2)
        # The port is part of the checksum (ones' complement), so their sum must be equal.
        if all(checks) and not (ports[0] + checks[0] - ports[1] - checks[1]) % 0xFFFF:
            _clear(left, right, at + 6, 2)
    if sent.way.tunnel == "gre+csum" and _words(left, right, at + 4) == (0xFFFF, 0):
        met.add(GRE_ZERO)
        _clear(left, right, at + 4, 2)
    return met


def _words(left: bytearray, right: bytearray, at: int) -> tuple[int, int]:
    """A 16-bit word of each."""
    return int.from_bytes(left[at : at + 2], "big"), int.from_bytes(right[at : at + 2], "big")


def _clear(left: bytearray, right: bytearray, at: int, length: int) -> None:
    left[at : at + length] = right[at : at + length] = bytes(length)


def _unsummed(frame: bytes) -> tuple[object, ...]:
    """The link header, the outer header without lengths and ID, and the packet inside."""
    packet = bytes(frame[ETHERNET:])
    return *_outer(frame[:ETHERNET], read(packet)), kind(packet), unwrapped(packet)


def _outer(link: bytes, outer: Header) -> tuple[object, ...]:
    """The link and outer header fields that all fragments of one datagram share."""
    label = outer.id if outer.version == V6 else None
    return link, outer.version, outer.tos, outer.ttl, outer.protocol, outer.ends, outer.df, label


def _compare_arrived(sent: Sent, ipvs: Sequence[bytes], xdplb: Sequence[bytes]) -> set[str]:
    """Compare a fragmented datagram: what the real has in the end, and the first headers."""
    left, right = arrived(ipvs), arrived(xdplb)
    if left.datagram and not right.datagram and sent.header.offset:
        return {OUT_OF_ORDER}
    if not left.datagram or left.datagram != right.datagram:
        return {_both(left.datagram, right.datagram)}
    met, outer = {REASSEMBLED}, left.outer
    if sent.header.ecn == CE and outer.ecn == ECT_0:
        met.add(ECN)
        outer = replace(outer, tos=outer.tos | CE)
    if sent.header.version == V6 and outer.df and not right.outer.df:
        met.add(DF_OF_PIECES)
        outer = replace(outer, df=False)
    if (*_outer(left.link, outer), left.kind) != (*_outer(right.link, right.outer), right.kind):
        met.add(f"IPVS {left.kind.hex()} {outer}, xdplb {right.kind.hex()} {right.outer}")
    return met
