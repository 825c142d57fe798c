# SPDX-License-Identifier: MIT
"""Hundreds of VIPs and services: the program finds what Python put there, and nothing else."""

from random import Random

import packets
import pytest
from balancer import SYN, XDP_PASS

from xdplb.errors import TableFull
from xdplb.model.address import parse_address
from xdplb.model.service import Protocol, Real, Service, ServiceKey

pytestmark = pytest.mark.root

FRAMES = {Protocol.TCP: SYN, Protocol.UDP: packets.udp()}


def address(number):
    return parse_address("0.0.0.0") + number


def frame_to(key, port=None):
    """A packet to a service."""
    frame = FRAMES[key.protocol]
    where = key.vip.packed + frame[34:36] + (port or key.port or 7).to_bytes(2, "big")
    plain = packets.from_client(frame, packets.CIP, packets.SPORT)
    return with_checksum(plain[:30] + where + plain[38:])


def with_checksum(frame):
    return packets.from_client(frame, packets.CIP, packets.SPORT)


def random_keys(random, count):
    """Services on neighbouring or random VIPs, on few ports or any port."""
    near = random.randrange(0x0A000000, 0x0AFF0000)
    keys = set()
    while len(keys) < count:
        vip = near + random.randrange(64) if random.random() < 0.5 else random.getrandbits(31)
        port = random.choice([0, 80, 443, random.randrange(1, 65536)])
        if vip >> 24 not in (0, 127):
            keys.add(ServiceKey(random.choice(list(Protocol)), address(vip), port))
    return sorted(keys)


@pytest.fixture
def served(lb):
    """Add services. Each has its own real, so a packet's real shows its service."""

    def serve(keys):
        services = [
            Service(key, "rr", reals=(Real(address(0x0A640001 + number)),))
            for number, key in enumerate(keys)
        ]
        lb.put_services(services)
        return {service.key: str(service.reals[0].address) for service in services}

    return lb, serve


@pytest.mark.parametrize("seed", range(3))
def test_program_finds_every_service(served, seed):
    """Three hundred services: each one's packets go to its own real."""
    lb, serve = served
    reals = serve(random_keys(Random(seed), 300))

    for key, real in reals.items():
        assert real == lb.real_of(frame_to(key))
    assert len(reals) == sum(lb.counted.values())


def test_program_finds_nothing_else(served):
    """Other ports than a service's, and addresses next to a VIP, are not found."""
    lb, serve = served
    random = Random(5)
    keys = random_keys(random, 200)
    serve(keys)
    known = {(key.protocol, key.vip, key.port) for key in keys}
    vips = {key.vip for key in keys}

    for key in keys:
        port = random.randrange(1, 65536)
        any_port = (key.protocol, key.vip, 0) in known
        if (key.protocol, key.vip, port) not in known and not any_port:
            assert XDP_PASS == lb.send(frame_to(key, port))[0]
            assert {"pass_no_service": 1} == lb.counted
        other = ServiceKey(key.protocol, key.vip + 1, 80)
        if other.vip not in vips:
            assert XDP_PASS == lb.send(frame_to(other))[0]
            assert {"pass_not_vip": 1} == lb.counted


def test_services_come_and_go(served):
    """After every other service is removed, the rest are found, and the removed are not."""
    lb, serve = served
    keys = random_keys(Random(6), 200)
    reals = serve(keys)
    with lb.director.changing() as state:
        for key in keys[::2]:
            state.remove_service(key)

    for key in keys[1::2]:
        assert reals[key] == lb.real_of(frame_to(key))
    for key in keys[::2]:
        assert lb.real_of(frame_to(key)) in {
            None,
            reals.get(ServiceKey(key.protocol, key.vip, 0)),
        } - {reals[key]}

    again = serve(keys)
    for key, real in again.items():
        assert real == lb.real_of(frame_to(key))


def test_full_table_says_so_and_changes_nothing(lb):
    """One service too many is refused; the others still work."""
    limit = lb.tunables.max_services - 1
    keys = [ServiceKey(Protocol.TCP, parse_address(packets.VIP), n) for n in range(1, limit + 2)]
    lb.put_services([Service(key, "rr") for key in keys[:limit]])

    with pytest.raises(TableFull, match="services are wanted, and the tables hold"):
        lb.put_services([Service(keys[limit], "rr")])

    assert XDP_PASS != lb.send(frame_to(keys[0]))[0]
    assert {"drop_no_real": 1} == lb.counted
    assert XDP_PASS == lb.send(frame_to(keys[limit]))[0]
