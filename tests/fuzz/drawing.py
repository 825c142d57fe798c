# SPDX-License-Identifier: MIT
"""Random services."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from random import Random

import packets

from fuzz.network import LOSABLE, REALS
from xdplb.model.address import Prefix, parse_address, parse_prefix
from xdplb.model.schedulers import SCHEDULERS
from xdplb.model.service import Protocol, Real, Service, ServiceKey
from xdplb.model.tunnel import IPIP, Tunnel

KEYS = [
    *map(
        ServiceKey.parse,
        (
            "tcp/10.0.0.80:80",
            "tcp/10.0.0.80:443",
            "udp/10.0.0.80:53",
            "udp/10.0.0.80:443",
            "tcp/10.0.0.81:0",
            "udp/10.0.0.81:0",
            "tcp/10.0.0.81:8080",
            "tcp/10.0.0.82:80",
            "tcp/10.0.0.82:443",
            "udp/10.0.0.82:80",
            "tcp/[2001:db8:80::80]:80",
            "udp/[2001:db8:80::80]:53",
            "tcp/[2001:db8:80::81]:0",
            "udp/[2001:db8:80::81]:0",
            "tcp/[2001:db8:80::82]:80",
        ),
    )
]
IDLE_VIPS = ("10.0.0.83", "2001:db8:80::83")  # without services
OTHER_TUNNELS = [
    Tunnel.parse(text)
    for text in ("gre", "gre+csum", "gre+csum", "gue", "gue:7777", "gue+csum", "gue:1+csum")
]
SOURCES = [
    None,
    *map(parse_prefix, ("10.9.0.0/24", "10.9.7.2/31", "172.16.0.0/12", "10.9.255.240/28")),
    *map(parse_prefix, ("2001:db8:5::/96", "fd00::9:0/112", "2001:db8:6::2/127")),
]
NO_VIPS = ("10.0.0.84", packets.DIP, "80.0.0.10", packets.DIP6, "::ffff:10.0.0.80", "ff02::1")


def ends() -> list[tuple[bytes, int, int]]:
    """The ends that frames go to, (address, protocol, port): mostly services."""
    served = [(key.vip.packed, int(key.protocol), key.port) for key in KEYS]
    beside = [(vip, protocol ^ 6 ^ 17, port) for vip, protocol, port in served]
    others = [(ip_address(vip).packed, 6, 80) for vip in (*IDLE_VIPS, *NO_VIPS)]
    return served * 6 + beside + others


def services(random: Random) -> list[Service]:
    """One on each end."""
    return [service(random, key, REALS) for key in KEYS]


def service(random: Random, key: ServiceKey, reals: list[str]) -> Service:
    """A service with any scheduler and any of these reals, some of them drained."""
    name = random.choice(sorted(SCHEDULERS))
    flags = sorted(SCHEDULERS[name].flags)
    chosen = random.sample(reals, min(len(reals), random.choice((0, 1, 2, 2, 3, 4, 6, 8))))
    weights = [random.choice((0, 1, 1, 2, 5)) for _ in chosen]
    drawn = Service(
        key,
        name,
        frozenset(random.sample(flags, random.randint(0, len(flags)))),
        key.protocol == Protocol.UDP and random.random() < 0.3,
        tuple(
            Real(parse_address(rip), weight, weight or random.randint(1, 3), tunnel(random))
            for rip, weight in zip(chosen, weights, strict=True)
        ),
        limit(random),
        limit(random),
        source_cidr=random.choice(SOURCES) if random.random() < 0.5 else None,
    )
    return allowed(drawn)


def tunnel(random: Random) -> Tunnel:
    """How a real gets its packets: mostly in IPIP."""
    return IPIP if random.random() < 0.65 else random.choice(OTHER_TUNNELS)


def denied(random: Random) -> frozenset[Prefix]:
    """A deny list of few prefixes, often none. Some prefixes have many clients."""
    lengths = random.sample((1, 3, 5, 8, 32), random.choice((0, 0, 1, 2)))
    ends = (random.randbytes(4), b"\x80" + random.randbytes(15))  # not in ::ffff:0:0/96
    return frozenset(ip_network((random.choice(ends), n), strict=False) for n in lengths)


def limit(random: Random) -> int:
    """A limit of new flows per second; often none."""
    return random.choice((0, 0, 0, 1, 2, 5))


def addable(losable: bool) -> list[str]:
    """The reals that have a route. One without a route cannot be added."""
    return [real for real in REALS if losable or real not in LOSABLE]


def changed(random: Random, old: Service, losable: bool) -> Service:
    """The service after one change."""
    if random.random() < 0.1:
        return allowed(replace(old, source_cidr=random.choice(SOURCES)))
    if random.random() < 0.15:
        other = service(random, old.key, [])
        return replace(old, scheduler=other.scheduler, flags=other.flags)
    reals = list(old.reals)
    present = {str(real.address) for real in reals}
    absent = [real for real in addable(losable) if real not in present]
    if random.random() < 0.1:
        return service(random, old.key, sorted(present) + absent)
    if reals and random.random() < 0.6:
        place = random.randrange(len(reals))
        real = reals.pop(place)
        if random.random() < 0.4:
            reals.insert(place, replace(real, tunnel=tunnel(random)))
        elif random.random() < 0.6:
            weight = random.choice((0, 0, 1, 2, 5))
            last_weight = weight or real.last_weight
            reals.insert(place, replace(real, weight=weight, last_weight=last_weight))
    else:
        reals.append(Real(parse_address(random.choice(absent)), tunnel=tunnel(random)))
    return allowed(replace(old, reals=tuple(reals)))


def allowed(service: Service) -> Service:
    """Outer sources are of the reals' family."""
    sources = service.source_cidr
    fits = all(sources and real.address.version == sources.version for real in service.reals)
    return service if fits else replace(service, source_cidr=None)
