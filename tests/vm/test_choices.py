# SPDX-License-Identifier: MIT
"""`mh` and `sh` choose the same real for a client as the kernel's do, with each flag."""

import os
import struct
from itertools import chain, combinations
from random import Random

import pytest
from balanced import Balanced, balance_by_ipvs, balance_by_xdplb, clear_ipvs
from directors import Ipvs
from line import ETHERNET, opened

from xdplb.lab import VIP

pytestmark = pytest.mark.root

CLIENTS = 10_000  # for each combination, half of them with TCP
FLAGS = {"mh": ("mh-port", "mh-fallback"), "sh": ("sh-port", "sh-fallback")}
COMBINATIONS = [
    (scheduler, flags)
    for scheduler, all_flags in FLAGS.items()
    for flags in chain.from_iterable(combinations(all_flags, n) for n in range(3))
]
REALS = [f"10.20.0.{n}" for n in range(1, 13)]
FIRST_PORT = 1000
VIP_BYTES = bytes(map(int, VIP.split(".")))


def draw_service(random, protocol, port, scheduler, flags):
    """Some reals with any weights. With a fallback, some are drained (else IPVS refuses them)."""
    reals = random.sample(REALS, random.randint(2, len(REALS)))
    weights = tuple((real, random.choice((1, 1, 2, 3, 7, 100))) for real in reals)
    fallback = any(flag.endswith("fallback") for flag in flags)
    drained = random.sample(reals, random.randint(1, len(reals) // 2)) if fallback else []
    return Balanced(protocol, port, scheduler, flags, weights, frozenset(drained))


def draw_client(random):
    """An address and a port. Port 20 is left out: IPVS does not schedule it, for active FTP."""
    first = random.choice([n for n in range(1, 224) if n not in (10, 127, 192)])
    return bytes([first]) + random.randbytes(3), random.randint(1024, 65535)


def begin_flow(service, number, client, sport):
    """A SYN or a datagram: the first packet of a client's flow."""
    ports = sport.to_bytes(2, "big") + service.port.to_bytes(2, "big")
    if service.protocol == "tcp":
        segment, protocol = ports + bytes(8) + b"\x50\x02\xfa\xf0" + bytes(4), 6
    else:
        segment, protocol = ports + b"\x00\x08" + bytes(2), 17
    words = (0x4500, 20 + len(segment), number, 0x4000, 0x4000 | protocol, 0)
    head = struct.pack("!6H", *words) + client + VIP_BYTES
    total = sum(struct.unpack("!10H", head))  # RFC 1071; ten times as fast as scapy's
    total = (total & 0xFFFF) + (total >> 16)
    check = ~(total + (total >> 16)) & 0xFFFF
    return head[:10] + check.to_bytes(2, "big") + head[12:] + segment


def reals_of(frames):
    """The real that each packet was sent to, by the packet's ID."""
    return {
        int.from_bytes(frame[ETHERNET + 24 : ETHERNET + 26], "big"): frame[30:34]
        for frame in frames
        if frame[ETHERNET + 9] == 4
    }


@pytest.fixture(scope="module")
def choices(cluster, xdplb):
    """Both directors' choices, for each combination."""
    seed = int(os.environ.get("SEED", Random().getrandbits(32)))
    print(f"\nSEED={seed}")
    random = Random(seed)
    services = {
        combination: [
            draw_service(random, protocol, FIRST_PORT + number, *combination)
            for protocol in ("tcp", "udp")
        ]
        for number, combination in enumerate(COMBINATIONS)
    }
    sent = {
        combination: [
            begin_flow(pair[number % 2], number, *draw_client(random)) for number in range(CLIENTS)
        ]
        for combination, pair in services.items()
    }
    everything = [service for pair in services.values() for service in pair]
    ipvs = Ipvs(cluster)
    chosen = []
    with opened(cluster) as line:
        for begin, end in (
            (lambda: balance_by_ipvs(ipvs, everything), lambda: clear_ipvs(ipvs)),
            (lambda: balance_by_xdplb(xdplb, everything), xdplb.flush),
        ):
            begin()
            chosen.append({each: reals_of(line.exchange(sent[each])) for each in COMBINATIONS})
            end()
    return services, *chosen


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda c: " ".join((c[0], *c[1])))
def test_clients_have_the_same_real(choices, combination):
    """10,000 random clients, any weights: xdplb sends each to the same real as IPVS."""
    services, by_ipvs, by_xdplb = choices
    ipvs, xdplb = by_ipvs[combination], by_xdplb[combination]
    other = {n: (ipvs.get(n), xdplb.get(n)) for n in range(CLIENTS) if ipvs.get(n) != xdplb.get(n)}

    assert {} == other, services[combination]
    assert CLIENTS == len(ipvs)
    assert len(set(ipvs.values())) > 1
