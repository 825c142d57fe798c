# SPDX-License-Identifier: MIT
"""Frames for a real server's unwrapper: tunnelled packets, valid and invalid, and all others."""

from random import Random
from struct import pack

from reference.checksum import checksum

from fuzz import frames
from fuzz.frames import GRE, IPIP, IPV6, OTHER_PROTOCOLS, TCP, UDP, chance
from xdplb.model.address import parse_address

VIPS = ["192.168.2.100", "10.0.0.80", "2001:db8:2::100", "2001:db8:9::80"]
DIRECTORS = [
    "192.168.2.200",
    "192.168.2.201",
    "10.9.0.0/28",
    "2001:db8:2::200",
    "2001:db8:2::201",
    "2001:db8:7::/64",
]
SENDERS = [prefix.partition("/")[0] for prefix in DIRECTORS] + ["10.9.0.15", "2001:db8:7::9"]
OTHER_VIPS = ["10.0.0.81", "2001:db8:9::81", "::ffff:192.168.2.100"]
STRANGERS = [
    *SENDERS,
    "192.168.2.202",
    "10.9.0.16",
    "0.0.0.0",
    "2001:db8::9",
    "2001:db8:7:1::9",
    "::",
    "::ffff:192.168.2.200",
]
REALS = {4: parse_address("192.168.2.220").packed, 16: parse_address("2001:db8:2::220").packed}
ETHERTYPES = {4: frames.IPV4, 16: b"\x86\xdd"}  # by an address's length
PROTOCOLS = {4: IPIP, 16: IPV6}
KINDS = ("ip", "ip", "ip", "gre", "gue")
EXTENSIONS = (0, 43, 44, 60)
VALUES_AT = 120  # odd values are put in the first so many bytes: two IPv6 headers and more


def packed(random: Random, texts: list[str]) -> bytes:
    """One of these addresses."""
    return parse_address(random.choice(texts)).packed


def ip(random: Random, src: bytes, dst: bytes, protocol: int, payload: bytes) -> bytes:
    """A packet of the addresses' family."""
    if len(dst) == 4:
        return frames.ipv4(random, src, dst, protocol, payload)
    traffic_class = random.getrandbits(8) if chance(random, 40) else 0
    first = 6 << 28 | traffic_class << 20 | random.getrandbits(20)
    length = len(payload) if chance(random, 97) else random.getrandbits(16)
    return pack("!IHBB", first, length, protocol, random.choice((64, 1))) + src + dst + payload


def extended(random: Random, protocol: int, payload: bytes) -> tuple[int, bytes]:
    """The payload behind one to five IPv6 extension headers, mostly with right lengths."""
    for _ in range(random.randint(1, 5)):
        kind = random.choice(EXTENSIONS)
        words = 0 if kind == 44 else random.choice((0, 0, 1, 2))
        said = words if chance(random, 95) and kind != 44 else random.getrandbits(8)
        payload = bytes((protocol, said)) + bytes(6 + 8 * words) + payload
        protocol = kind
    return protocol, payload


def inner_packet(random: Random) -> bytes:
    """A client's packet."""
    protocols = (TCP, TCP, UDP) if chance(random, 85) else OTHER_PROTOCOLS
    protocol = random.choice(protocols)
    vip = packed(random, VIPS if chance(random, 96) else OTHER_VIPS)
    size = random.randint(20, 100) if chance(random, 95) else random.randint(100, 3300)
    payload = frames.segment(random, protocol, random.getrandbits(16), 80, size)
    if len(vip) == 16 and chance(random, 20):
        protocol, payload = extended(random, protocol, payload)
    return ip(random, random.randbytes(len(vip)), vip, protocol, payload)


def wrapped(random: Random, inner: bytes, family: int) -> tuple[int, bytes]:
    """Wrap by one kind of tunnel. Returns: the outer header's protocol, and its payload."""
    if chance(random, 3):
        family = 20 - family
    kind = random.choice(KINDS)
    if kind == "gre":
        flags = random.choice((0, 0, 0x8000, 0x8000)) if chance(random, 95) else 1 << 13
        header = pack("!H", flags) + ETHERTYPES[family] + bytes(4 if flags else 0)
        return GRE, header + inner
    if kind == "gue":
        port = 6080 if chance(random, 97) else 6081
        own = bytes((0, PROTOCOLS[family], 0, 0)) if chance(random, 95) else random.randbytes(4)
        return UDP, pack("!4H", 50000, port, 12 + len(inner), 0) + own + inner
    return PROTOCOLS[family], inner


def tunnelled(random: Random) -> tuple[bytes, bytes]:
    """A director's packet. The inner one may be damaged, or have bytes behind it.

    Returns: its ethertype, and itself.
    """
    inner = inner_packet(random)
    family = 16 if inner[0] >> 4 == 6 else 4
    if chance(random, 15):
        inner = frames.damage(random, frames.MACS + ETHERTYPES[family] + inner)[14:]
    director = packed(random, SENDERS if chance(random, 97) else STRANGERS)
    protocol, payload = wrapped(random, inner, family)
    if chance(random, 4):
        protocol = random.choice((TCP, UDP, *OTHER_PROTOCOLS))
    if len(director) == 16 and chance(random, 3):
        protocol, payload = extended(random, protocol, payload)
    packet = ip(random, director, REALS[len(director)], protocol, payload)
    return ETHERTYPES[len(director)], packet


def mend_checksum(frame: bytes) -> bytes:
    """The frame with a right checksum in its first IPv4 header, of 20 bytes."""
    at = frames.start_of_ip(frame)
    if len(frame) < at + 20 or frame[at - 2 : at] != frames.IPV4:
        return frame
    right = checksum(frame[at : at + 10] + bytes(2) + frame[at + 12 : at + 20])
    return frame[: at + 10] + right + frame[at + 12 :]


def disturb(random: Random, frame: bytes) -> bytes:
    """Change one byte of the headers to another meaning."""
    at = random.randrange(12, min(len(frame), VALUES_AT))
    value = random.choice((*frames.VALUES, *EXTENSIONS, IPIP, IPV6, GRE, frame[at] ^ 0x10))
    return frame[:at] + bytes((value,)) + frame[at + 1 :]


def frame(random: Random) -> bytes:
    """Any frame."""
    if chance(random, 3):
        return frames.oddity(random)
    ethertype, packet = tunnelled(random)
    made = frames.on_link(random, packet)
    at = frames.start_of_ip(made)
    made = made[: at - 2] + ethertype + made[at:]
    if chance(random, 30):
        made = frames.damage(random, made) if chance(random, 60) else disturb(random, made)
        if chance(random, 60):
            made = mend_checksum(made)
    return made
