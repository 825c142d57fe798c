# SPDX-License-Identifier: MIT
"""Routers on the way to a real tell of its MTU, by ICMP about the tunnel's packets."""

import packets
import pytest
from balancer import ACK, XDP_PASS, XDP_TX
from packets import DIP, RIP, icmp_error
from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

pytestmark = pytest.mark.root

LIFE = 600  # ticks: bpf/path.h
B = "192.168.0.8"


def outer(dst=RIP, proto=4, **fields):
    """The tunnel's packet, as a router on its way quotes it."""
    return IP(**{"src": DIP, "dst": dst, "proto": proto, "flags": "DF", "ttl": 50, **fields}) / Raw(
        bytes(64)
    )


def too_big(mtu=1400, quoted=None, **fields):
    """A router's ICMP about that packet."""
    error = ICMP(type=3, code=4, nexthopmtu=mtu)
    return icmp_error(quoted or outer(), error=error, **{"dst": DIP, **fields})


def segment(length):
    """A segment: an IP packet of `size` bytes, with DF."""
    return packets.tcp("A", payload=b"x" * (length - 40))


def learns(lb, frame):
    """Assert that the frame passes unchanged; then let a learned MTU count."""
    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_not_vip": 1} == lb.counted
    lb.expire_hop(RIP)


def mtu_of(lb, real=RIP):
    """The path's MTU, by the packets that are forwarded and the answer to one that is not."""
    lb.expire_hop(real)
    _, out = lb.send(segment(1500))
    mtu = int.from_bytes(packets.split(out)[1][26:28], "big")
    assert (XDP_TX, packets.ipip(segment(mtu), real)) == lb.send(segment(mtu))
    assert (XDP_TX, packets.too_big(segment(mtu + 1), mtu)) == lb.send(segment(mtu + 1))
    lb.counted  # noqa: B018
    return mtu + 20


@pytest.fixture
def served(lb):
    """A service whose real is in use."""
    lb.add_service()
    lb.send(ACK)
    lb.counted  # noqa: B018
    return lb


@pytest.mark.parametrize("proto", [4, 47, 17], ids=["IPIP", "GRE", "GUE"])
def test_mtu_is_learned(served, proto):
    """Later segments that are too big for that path are answered with the MTU in the tunnel."""
    assert 1500 == mtu_of(served)

    learns(served, too_big(quoted=outer(proto=proto)))

    assert 1400 == mtu_of(served)


def test_only_frag_needed_of_our_tunnels_lowers(served):
    """Other ICMP passes unchanged too, and changes no MTU."""
    frames = [
        icmp_error(outer(), error=ICMP(type=3, code=1), dst=DIP),
        icmp_error(outer(), error=ICMP(type=11, code=0), dst=DIP),
        packets.ip(ICMP() / Raw(b"ping"), dst=DIP),
        too_big(quoted=outer(proto=6)),
        too_big(quoted=outer(dst="192.168.0.99")),
        too_big(quoted=outer(src="192.168.2.201")),
        too_big(quoted=outer(flags="")),
        too_big(quoted=outer(options=b"\x01" * 4)),
        too_big(options=b"\x01" * 4),
        too_big(ip_flags="MF"),
        too_big(frag=1),
        too_big(len=20 + 8 + 27),
        too_big()[:-1],
        too_big(proto=17),
    ]
    for frame in frames:
        learns(served, frame)

    assert 1500 == mtu_of(served)


def test_other_sources_of_ours_count(served):
    """The tunnel's source may be another address than the DIP, if the ICMP is to the address that
    it quotes.
    """
    learns(served, too_big(quoted=outer(src="192.168.2.201"), dst="192.168.2.201"))

    assert 1400 == mtu_of(served)


def test_every_service_knows(lb):
    """An MTU learned for an address counts for each service with that real, and no other real."""
    lb.add_service(reals=[RIP])
    lb.send(ACK)
    lb.send(too_big())

    lb.add_service("10.0.0.81:80", reals=[RIP])
    assert 1400 == packets_mtu(lb, "10.0.0.81")
    lb.add_service("10.0.0.82:80", reals=[B])
    assert 1500 == packets_mtu(lb, "10.0.0.82")


def packets_mtu(lb, vip):
    """As mtu_of(), by another VIP."""
    frame = packets.tcp("A", payload=bytes(1460), dst=vip)
    return int.from_bytes(packets.split(lb.send(frame)[1])[1][26:28], "big") + 20


def test_lower_counts_higher_does_not(served):
    """A smaller MTU replaces a larger one; a larger one is ignored."""
    for told, known in ((1400, 1400), (1450, 1400), (1300, 1300), (1400, 1300)):
        learns(served, too_big(told))
        assert known == mtu_of(served)


@pytest.mark.parametrize("told", [0, 68, 551, 552])
def test_mtu_has_a_floor(served, told):
    """As with the kernel's net.ipv4.route.min_pmtu, a smaller MTU counts as 552."""
    learns(served, too_big(told))

    assert 552 == mtu_of(served)


def test_routes_own_mtu_stays(lb):
    """A learned MTU lowers the route's, and never raises it."""
    lb.ip("route add 10.7.0.0/24 via 192.168.2.1 mtu lock 1380", undo="route del 10.7.0.0/24")
    lb.add_service(reals=["10.7.0.1"])
    lb.send(ACK)
    lb.send(too_big(1400, outer(dst="10.7.0.1")))

    assert 1380 == mtu_of(lb, "10.7.0.1")


def test_learned_is_forgotten(served):
    """After ten minutes larger packets are forwarded again, and a new MTU can be learned."""
    learns(served, too_big())
    served.pass_ticks(LIFE - 1)
    assert 1400 == mtu_of(served)
    learns(served, too_big())
    served.pass_ticks(LIFE - 1)
    assert 1400 == mtu_of(served)
    served.pass_ticks(1)

    assert 1500 == mtu_of(served)
    learns(served, too_big(1450))
    assert 1450 == mtu_of(served)


def test_after_long_silence_it_is_learned_all_the_same(served):
    """An MTU is also learned for a real that had no packets for a while."""
    served.pass_ticks(LIFE + 1)

    learns(served, too_big())

    assert 1400 == mtu_of(served)


def test_hop_in_use_stays_for_its_tick(served):
    """A learned MTU counts from the next tick on: the hop is refreshed once a tick."""
    served.send(segment(1480))
    served.send(too_big())

    assert (XDP_TX, packets.ipip(segment(1480))) == served.send(segment(1480))


def test_forged_icmp_cannot_fill_the_table(served):
    """Only reals in use have records: an MTU of another address is not recorded."""
    words = bytes(served.tables.paths.memory)

    for number in range(300):
        served.send(too_big(600, outer(dst=f"10.9.{number % 256}.{number // 256}")))

    assert words == bytes(served.tables.paths.memory)


def test_tagged_icmp_passes_as_it_came(served):
    """ICMP passes with its VLAN tags."""
    frame = too_big(tags=(packets.vlan(5),))

    learns(served, frame)

    assert 1400 == mtu_of(served)


def test_gone_program_leaves_it_to_the_kernel(served):
    """A ping to another address passes, even without the program for rare packets."""
    import ctypes

    from xdplb.kernel import libbpf

    frame = packets.ip(ICMP() / Raw(b"ping"), dst=DIP)
    libbpf.map_delete(served.tables.programs.fd, ctypes.c_uint32(0))
    try:
        assert (XDP_PASS, frame) == served.send(frame)
    finally:
        served.tables.put_programs(served.program.kinds)
    assert {"pass_no_program": 1} == served.counted
