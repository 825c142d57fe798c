# SPDX-License-Identifier: MIT
"""Frames: such as clients send, odd but legal ones, damaged ones, and noise."""

from collections.abc import Iterator, Sequence
from random import Random
from struct import Struct

from reference.checksum import PLACES, checksum, with_checksum

from fuzz.runner import LARGEST

SHORTEST = 14  # a test run needs an Ethernet header
MACS = bytes.fromhex("0200000002c8 020000000201")
TO_ALL = bytes.fromhex("ffffffffffff 020000000201")
IPV4, IPV6_TYPE = b"\x08\x00", b"\x86\xdd"
ETHERTYPES = (b"\x08\x06", b"\x86\xdd", b"\x88\xcc", b"\x81\x00", b"\x88\xa8", b"\x00\x40")
TAG_TYPES = (b"\x81\x00", b"\x88\xa8")
DF, MF, EVIL = 0x4000, 0x2000, 0x8000

_HEADER = Struct("!BBHHHBBH4s4s")
_PORTS = Struct("!HH")
_TCP_REST = Struct("!IIBBHHH")

ICMP, IPIP, TCP, UDP, IPV6, GRE, ESP = 1, 4, 6, 17, 41, 47, 50
FRAGMENT, AH, ICMPV6, NONE = 44, 51, 58, 59
OTHER_PROTOCOLS = (ICMP, ICMP, IPIP, IPV6, GRE, ESP, 0, 132, 255, AH, ICMPV6, ICMPV6, NONE)
FLAGS = (*[0x02] * 6, *[0x10] * 6, 0x18, 0x18, 0x11, 0x04, 0x14, 0x12, 0x03, 0x06, 0xC2, 0x00)
FRAGMENTS = (*[DF] * 60, *[0] * 30, DF | EVIL, EVIL, MF, 1, 0x1FFF, DF | MF)
TTLS = (*[64] * 40, 255, 128, 63, 3, 2, 2, 1, 0)
# Values where a lost carry shows: when the TTL changes, and when the unwrapper changes ECN.
CHECKSUMS = (bytes(2), b"\xff\xff", b"\xfe\xff", b"\xff\xfe", b"\xff\0", b"\xff\1", b"\xff\2")
NOISY = 48
NOISE = Random(0).randbytes(4096)


def chance(random: Random, percent: float) -> bool:
    """True with this chance."""
    return random.random() * 100 < percent


def noise(random: Random, length: int) -> bytes:
    """Random bytes, made fast. A long rest is one letter, so that a person can read it."""
    start = random.randrange(len(NOISE) - NOISY)
    return NOISE[start : start + min(length, NOISY)] + b"x" * (length - NOISY)


def ipv4(
    random: Random,
    src: bytes,
    dst: bytes,
    protocol: int,
    payload: bytes,
    id_and_fragment: Sequence[int] = (),
) -> bytes:
    """A valid packet. Its other fields have any value; odd values are rare."""
    options = random.randbytes(4 * random.randint(1, 10)) if chance(random, 6) else b""
    tos = random.getrandbits(8) if chance(random, 40) else 0
    length = 20 + len(options) + len(payload)
    id_and_fragment = id_and_fragment or (random.getrandbits(16), random.choice(FRAGMENTS))
    fields = [0x45 + len(options) // 4, tos, length, *id_and_fragment]
    fields += [random.choice(TTLS), protocol]
    check = checksum(_HEADER.pack(*fields, 0, src, dst) + options)
    if chance(random, 4):
        check = random.choice((*CHECKSUMS, random.randbytes(2)))
    return _HEADER.pack(*fields, int.from_bytes(check, "big"), src, dst) + options + payload


def extensions(random: Random) -> list[tuple[int, bytes]]:
    """Extension headers, mostly valid: for each, its protocol, and its bytes from the second on."""
    chosen = random.choices((0, 43, 60, 60), k=random.choice((1, 1, 1, 2, 3, 4, 4, 5, 6)))
    headers = []
    lengths = (0, 0, 32, 255, 255) if chance(random, 8) else (0, 0, 0, 0, 1, 2)
    for protocol in chosen:
        units = random.choice(lengths)
        segments_left = 1 if chance(random, 5) else 0
        rest = bytes((units, random.getrandbits(8) & 0xFC, segments_left)) + bytes(4 + 8 * units)
        headers.append((protocol, rest))
    if chance(random, 10):
        for _ in range(random.choice((1, 1, 2))):
            headers.insert(random.randint(0, len(headers)), (FRAGMENT, fragment_rest(random)))
    return headers


def fragment_rest(random: Random) -> bytes:
    """An IPv6 fragment header from its second byte on: of a whole packet, a first or later one."""
    word = random.choice((0, 1, 8, 9, 6, random.getrandbits(16)))
    return bytes([random.choice((0, 0, 255))]) + word.to_bytes(2, "big") + fragment_id(random)


def fragment_id(random: Random) -> bytes:
    """One of few IDs, so that fragments of different packets meet."""
    return random.randrange(4).to_bytes(4, "big")


def ipv6(random: Random, src: bytes, dst: bytes, protocol: int, payload: bytes) -> bytes:
    """A valid packet. Its other fields have any value; odd values are rare."""
    if chance(random, 12):
        for kind, rest in reversed(extensions(random)):
            payload = bytes([protocol]) + rest + payload
            protocol = kind
    word = 6 << 28 | (random.getrandbits(28) if chance(random, 40) else 0)
    fixed = word.to_bytes(4, "big") + len(payload).to_bytes(2, "big")
    return fixed + bytes((protocol, random.choice(TTLS))) + src + dst + payload


def ip(random: Random, src: bytes, dst: bytes, protocol: int, payload: bytes) -> bytes:
    """A packet of the addresses' family."""
    build = ipv6 if len(dst) == 16 else ipv4
    return build(random, src, dst, protocol, payload)


def segment(random: Random, protocol: int, sport: int, dport: int, size: int) -> bytes:
    """A transport header with payload, for an IP packet of about `size` bytes.

    Its checksum is 0: see `summed`.
    """
    start = _PORTS.pack(sport, dport)
    if protocol == TCP:
        flags = random.choice(FLAGS) if chance(random, 97) else random.getrandbits(8)
        header = start + _TCP_REST.pack(random.getrandbits(32), 0, 5 << 4, flags, 64240, 0, 0)
    elif protocol == UDP:
        length = max(8, size - 20) - (random.randrange(20) if chance(random, 3) else 0)
        header = start + _PORTS.pack(max(0, length), 0)
    elif protocol == ICMPV6:
        type_ = random.choice((132, 133, 135, 137, 138))  # neighbour discovery, or types next to it
        header = bytes((type_, 0, 0, 0))
    else:
        header = start
    return header + noise(random, max(0, size - 20 - len(header)))


def summed(random: Random, src: bytes, dst: bytes, protocol: int, segment: bytes) -> bytes:
    """The segment with a right checksum, a wrong one, or none. A tunnel's may depend on it."""
    place = PLACES.get(protocol)
    dice = random.random()
    if place is None or dice < 0.25:
        return segment
    if dice < 0.75:
        return with_checksum(src, dst, protocol, segment)
    check = random.choice((*CHECKSUMS, random.randbytes(2)))
    return segment[:place] + check + segment[place + 2 :]


def pieces(
    random: Random, src: bytes, dst: bytes, protocol: int, payload: bytes
) -> Iterator[bytes]:
    """A packet's fragments. Some of them have DF."""
    number, df = random.randrange(4), DF if chance(random, 10) else 0
    units = random.choice((1, 2, 3, 5, 60, 173, 181, 183))  # of 8 bytes; the last two do not fit
    units = max(units, len(payload) // 80)
    for at in range(0, len(payload), 8 * units):
        more = at + 8 * units < len(payload)
        fragment = payload[at : at + 8 * units]
        if len(dst) == 16:
            head = bytes((protocol, 0)) + (at | more).to_bytes(2, "big") + number.to_bytes(4, "big")
            yield ipv6(random, src, dst, FRAGMENT, head + fragment)
        else:
            flags = df | (MF if more else 0)
            yield ipv4(random, src, dst, protocol, fragment, (number, flags | at // 8))


ERRORS = (*[(3, 4)] * 3, (3, 1), (3, 3), (4, 0), (11, 0), (11, 1))
ERRORS6 = (*[(2, 0)] * 3, (1, 0), (1, 4), (3, 0), (3, 1), (4, 0))


def icmp_error(random: Random, quoted: bytes, mtu: int) -> bytes:
    """An ICMP error that quotes enough of a packet, or too little; seldom another message."""
    ipv6 = quoted[0] >> 4 == 6
    type_, code = random.choice(ERRORS6 if ipv6 else ERRORS)
    if chance(random, 5):
        type_, code = random.choice((*range(20), *range(126, 138))), 0
    least = 48 if ipv6 else 28
    length = random.choice((least, least, least, least + 20, 576, 1440))
    if chance(random, 10):
        length = random.randrange(least + 9)
    rest = mtu.to_bytes(4, "big") if ipv6 else random.randbytes(2) + mtu.to_bytes(2, "big")
    return bytes((type_, code)) + random.randbytes(2) + rest + quoted[:length]


def on_link(random: Random, packet: bytes) -> bytes:
    """A frame with an IP packet, with or without tags, with or without padding."""
    macs = TO_ALL if chance(random, 2) else MACS
    tags = b""
    if chance(random, 20):
        for _ in range(random.choice((1, 1, 2, 2, 3))):
            tags += random.choice(TAG_TYPES) + random.randbytes(2)
    padding = noise(random, random.randint(1, 46)) if chance(random, 10) else b""
    ethertype = IPV6_TYPE if packet[0] >> 4 == 6 else IPV4
    return (macs + tags + ethertype + packet + padding)[:LARGEST]


def oddity(random: Random) -> bytes:
    """A frame of another protocol than IP, or without any meaning."""
    if chance(random, 50):
        return MACS + random.choice(ETHERTYPES) + noise(random, random.randint(0, 80))
    return noise(random, random.randint(SHORTEST, 120))


def lengths(whole: bytes) -> Iterator[bytes]:
    """A frame cut at every length."""
    return (whole[:length] for length in range(SHORTEST, len(whole)))


# ---- damage ----------------------------------------------------------------------------------

VALUES = (0x00, 0x01, 0x04, 0x05, 0x06, 0x11, 0x40, 0x45, 0x46, 0x4F, 0x7F, 0x80, 0xFE, 0xFF)
HEADERS = 74  # damage has effects in the first so many bytes
IPV4_OFFSETS = (0, 0, 2, 3, 3, 6, 7, 8, 9)


def flip_bits(random: Random, frame: bytearray) -> None:
    """Flip one to four bits."""
    for _ in range(random.randint(1, 4)):
        bit = random.randrange(8 * min(len(frame), HEADERS))
        frame[bit >> 3] ^= 1 << (bit & 7)


def set_byte(random: Random, frame: bytearray) -> None:
    """Set a byte to a value that has a meaning somewhere."""
    frame[random.randrange(min(len(frame), HEADERS))] = random.choice(VALUES)


def truncate(random: Random, frame: bytearray) -> None:
    """Cut the frame short, mostly within the headers."""
    del frame[random.randint(SHORTEST, min(len(frame), random.choice((HEADERS, LARGEST)))) :]


def set_ip_byte(random: Random, frame: bytearray) -> None:
    """Change one of the first bytes of the IP header: version, lengths, flags, TTL, protocol."""
    offsets = (0, 4, 4, 5, 5, 6, 6, 7, 40, 40, 41, 43) if is_ipv6(frame) else IPV4_OFFSETS
    at = start_of_ip(frame) + random.choice(offsets)
    if at < len(frame):
        frame[at] = random.choice((*VALUES, frame[at] + 1 & 0xFF, frame[at] - 1 & 0xFF))


def lie_about_length(random: Random, frame: bytearray) -> None:
    """Set the IP packet's length to about the length of its headers, or of the frame."""
    at = start_of_ip(frame)
    if is_ipv6(frame):
        at += 2
    if at + 4 <= len(frame):
        length = random.choice((0, 20, 24, 28, 40, 44, 60, len(frame) - at)) + random.randint(-2, 2)
        length -= 38 if is_ipv6(frame) and length > 44 else 0
        frame[at + 2 : at + 4] = max(0, length).to_bytes(2, "big")


def swap_ends(random: Random, frame: bytearray) -> None:
    """Swap source and destination, of addresses or of ports."""
    addresses, ports = ((8, 16), (40, 2)) if is_ipv6(frame) else ((12, 4), (20, 2))
    at, size = random.choice((addresses, ports))
    at += start_of_ip(frame)
    if at + 2 * size <= len(frame):
        frame[at : at + 2 * size] = frame[at + size : at + 2 * size] + frame[at : at + size]


def cut_out(random: Random, frame: bytearray) -> None:
    """Remove some bytes in the middle."""
    at = random.randrange(len(frame))
    gone = min(random.randint(1, 20), len(frame) - SHORTEST)
    del frame[at : at + gone]


def repeat(random: Random, frame: bytearray) -> None:
    """Repeat some bytes."""
    at = random.randrange(len(frame))
    frame[at:at] = frame[at : at + random.randint(1, 20)]


DAMAGES = (
    flip_bits,
    flip_bits,
    set_byte,
    truncate,
    truncate,
    set_ip_byte,
    set_ip_byte,
    lie_about_length,
    lie_about_length,
    swap_ends,
    cut_out,
    repeat,
)


def start_of_ip(frame: Sequence[int]) -> int:
    """The offset behind everything that looks like VLAN tags."""
    at = 12
    while bytes(frame[at : at + 2]) in TAG_TYPES and at < 20:
        at += 4
    return at + 2


def is_ipv6(frame: Sequence[int]) -> bool:
    """Whether the frame is IPv6, by its Ethernet header."""
    at = start_of_ip(frame)
    return bytes(frame[at - 2 : at]) == IPV6_TYPE


def damage(random: Random, frame: bytes) -> bytes:
    """The frame with one or two kinds of damage."""
    damaged = bytearray(frame)
    for _ in range(random.choice((1, 1, 2))):
        random.choice(DAMAGES)(random, damaged)
    return bytes(damaged[:LARGEST])
