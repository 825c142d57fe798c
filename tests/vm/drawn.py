# SPDX-License-Identifier: MIT
"""Random packets of all kinds that clients may send, to VIPs of both families."""

from random import Random
from typing import Any

from built import ERRORS, Flow, error, packet, segment
from datagram import HEADER, HOP_BY_HOP, OPTIONS, ROUTING, TCP, UDP, V4, V6, in_pieces, with_id
from sent import Sent
from ways import MTU, WAYS

FLAGS = (0x02, 0x10, 0x18, 0x11, 0x12, 0x01, 0x00, 0xC2) * 4 + (0x04, 0x14, 0x3F)  # few RSTs
# Options that no host acts on. (Behind IPVS, options that record something are changed.)
INERT = (b"\x01" * 4, b"\x01\x00\x00\x00", b"\x94\x04\x00\x00", b"\x88\x04\x12\x34", b"\x01" * 40)
EXTENSIONS = (
    (HOP_BY_HOP, b"\x01\x04" + bytes(4)),
    (OPTIONS, b"\x1e\x0c" + bytes(12)),
    (ROUTING, b"\x04\x00" + bytes(20)),
    (OPTIONS, b"\x01\x04" + bytes(4)),
)
WEIGHTS = [3 if way.inner == way.outer == V4 else 1 for way in WAYS]  # as most have it
QUOTED_MOST = {V4: 548, V6: 1232}


def drawn(random: Random, count: int, first: int) -> list[Sent]:
    """Random packets, numbered from `first` on."""
    flows = [_flow(random) for _ in range(count // 4)]
    found: list[Sent] = []
    while len(found) < count:
        dice, number = random.random(), first + len(found)
        if dice < 0.03:
            found += _error(random, number)
        elif dice < 0.06:
            found.append(_in_pieces(random, random.choice(flows), number))
        else:
            found.append(_whole(random, random.choice(flows), number))
    return found[:count]


def _flow(random: Random) -> Flow:
    [way] = random.choices(WAYS, WEIGHTS)
    address = _address(random, way.inner)
    return Flow(way, random.choice((TCP, UDP)), address, random.randint(21, 65535))


def _address(random: Random, version: int) -> bytes:
    """An address of a host far away."""
    if version == V4:
        first = random.choice([n for n in range(1, 224) if n not in (10, 127, 192)])
        return bytes([first]) + random.randbytes(3)
    return bytes([0x20 | random.getrandbits(5)]) + random.randbytes(15)


def _whole(random: Random, flow: Flow, number: int) -> Sent:
    more, length = _options(random, flow)
    least = HEADER[flow.way.inner] + length + (20 if flow.protocol == TCP else 8)
    data = _segment(random, flow, _size(random, least) - least)
    built = _packet(random, flow, data, df=random.random() < 0.7, **more)
    return Sent((with_id(built, number),), flow.way)


def _in_pieces(random: Random, flow: Flow, number: int) -> Sent:
    """Fragments, in order. Some are too big for the tunnel."""
    more, _length = _options(random, flow)
    whole = _packet(random, flow, _segment(random, flow, random.randint(MTU, 4 * MTU)), **more)
    pieces = in_pieces(whole, random.randint(MTU // 3, MTU))
    return Sent(tuple(with_id(piece, number) for piece in pieces), flow.way)


def _options(random: Random, flow: Flow) -> tuple[dict[str, Any], int]:
    """Options or extensions, which some packets have, and their length."""
    if random.random() > 0.08:
        return {}, 0
    if flow.way.inner == V4:
        options = random.choice(INERT)
        return {"options": options}, len(options)
    extensions = [each for each in EXTENSIONS if random.random() < 0.5]
    return {"extensions": extensions}, sum(2 + len(data) for _, data in extensions)


def _packet(random: Random, flow: Flow, data: bytes, **fields: Any) -> bytes:
    ttl = random.choice((1, 2, 3, 64, 64, 64, 128, 255, random.randint(4, 254)))
    tos = random.getrandbits(8)
    return packet(flow.ends, flow.protocol, data, tos=tos, ttl=ttl, **fields)


def _size(random: Random, least: int) -> int:
    dice = random.random()
    if dice < 0.6:
        return least + random.randint(0, 100)
    if dice < 0.85:
        return random.randint(1430, MTU)
    return random.randint(least, MTU)


def _segment(random: Random, flow: Flow, size: int) -> bytes:
    """A TCP or UDP segment with this much data. Some of UDP's have no checksum."""
    data = random.randbytes(min(size, 16)).ljust(size, b"x")
    flags = bytes([0x50, random.choice(FLAGS)])
    fields = random.randbytes(8) + flags + random.randbytes(4)
    summed = flow.protocol == TCP or random.random() < 0.7
    return segment(flow.ends, flow.protocol, flow.ports, data, fields, summed=summed)


def _error(random: Random, number: int) -> list[Sent]:
    """A flow's first packet, and an ICMP error about its real's answer."""
    flow = _flow(random)
    version = flow.way.inner
    router, (kind, code) = _address(random, version), random.choice(ERRORS[version])
    quoted = flow.answer(QUOTED_MOST[version])
    quoted = quoted[: random.randint(HEADER[version] + 8, QUOTED_MOST[version])]
    tos, ttl = random.getrandbits(8), random.randint(2, 255)
    about = error(router, quoted, kind, code, random.getrandbits(32), tos=tos, ttl=ttl)
    pair = with_id(flow.opening(), number), with_id(about, number + 1)
    return [Sent((each,), flow.way) for each in pair]
