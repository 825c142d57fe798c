# SPDX-License-Identifier: MIT
"""Routers on the way to an IPv6 real tell of its MTU, by packet too big about the tunnel's packets.

What is the same as of IPv4 is in test_path.py; the fuzzer compares both.
"""

import packets
import pytest
from balancer import XDP_PASS, XDP_TX
from packets import DIP6, RIP6, icmp6_error, ip, ip6
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrDestOpt
from scapy.packet import Raw

pytestmark = pytest.mark.root

VIPS = {ip: packets.VIP, ip6: f"[{packets.VIP6}]"}
OUTER = 40


def outer(nh=41, **fields):
    """The tunnel's packet, as a router on its way quotes it."""
    return IPv6(**{"src": DIP6, "dst": RIP6, "nh": nh, "hlim": 50, **fields}) / Raw(bytes(64))


def too_big(mtu=1400, quoted=None, **fields):
    """A router's ICMP about that packet."""
    error = fields.pop("error", ICMPv6PacketTooBig(mtu=mtu))
    return icmp6_error(quoted or outer(), error=error, **{"dst": DIP6, **fields})


def segment(length, network):
    """A segment: an IP packet of `size` bytes, with DF."""
    return packets.tcp(
        "A", payload=b"x" * (length - (60 if network is ip6 else 40)), network=network
    )


def learns(lb, frame):
    """Assert that the frame passes unchanged; then let a learned MTU count."""
    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_not_vip": 1} == lb.counted
    lb.expire_hop(RIP6)


def mtu_of(lb, network):
    """The path's MTU, by the packets that are forwarded and the answer to one that is not."""
    lb.expire_hop(RIP6)
    _, said = lb.send(segment(1500, network))
    at = 14 + (40 + 4 if network is ip6 else 20 + 6)
    mtu = int.from_bytes(said[at : at + (4 if network is ip6 else 2)], "big")
    answer = packets.too_big6 if network is ip6 else packets.too_big
    fits, does_not = segment(mtu, network), segment(mtu + 1, network)
    assert (XDP_TX, packets.ipip(fits, RIP6)) == lb.send(fits)
    assert (XDP_TX, answer(does_not, mtu)) == lb.send(does_not)
    lb.counted  # noqa: B018
    return mtu + OUTER


@pytest.fixture(params=[ip6, ip], ids=["6in6", "4in6"])
def network(request):
    """The family of the packet in the tunnel."""
    return request.param


@pytest.fixture
def served(lb, network):
    """A service whose real is in use."""
    lb.add_service(f"{VIPS[network]}:80", reals=[RIP6])
    lb.send(segment(100, network))
    lb.counted  # noqa: B018
    return lb


@pytest.mark.parametrize("nh", [4, 41, 47, 17], ids=["4in6", "6in6", "GRE", "GUE"])
def test_mtu_is_learned(served, network, nh):
    """Later segments that are too big for that path are answered with the MTU in the tunnel."""
    assert 1500 == mtu_of(served, network)

    learns(served, too_big(quoted=outer(nh)))

    assert 1400 == mtu_of(served, network)


def test_only_too_big_of_our_tunnels_lowers(served, network):
    """Other ICMP passes unchanged too, and changes no MTU."""
    frames = [
        too_big(error=ICMPv6DestUnreach()),
        too_big(quoted=outer(6)),
        too_big(quoted=outer(dst="2001:db8:9::99")),
        too_big(quoted=outer(src="2001:db8:2::201")),
        too_big(quoted=outer(version=4)),
        too_big(extensions=(IPv6ExtHdrDestOpt(),)),
        too_big(plen=8 + 47),
        too_big(quote=47),
        too_big(nh=17),
    ]
    for frame in frames:
        learns(served, frame)

    assert 1500 == mtu_of(served, network)


@pytest.mark.parametrize(
    ("told", "known"), [(0, 1280), (1279, 1280), (1281, 1281), (1 << 31, 1500)]
)
def test_mtu_has_a_floor(served, network, told, known):
    """A smaller MTU counts as IPv6's least MTU (RFC 8201 §4). Packets that fit it are still
    forwarded, so forged ICMP cannot stop them.
    """
    learns(served, too_big(told))
    fits, does_not = segment(known - OUTER, network), segment(known - OUTER + 1, network)

    assert (XDP_TX, packets.ipip(fits, RIP6)) == served.send(fits)
    assert {"forwarded": 1} == served.counted
    served.send(does_not)
    assert served.counted.keys() <= {"replied_too_big", "drop_small_mtu"}


def test_lower_counts_higher_does_not(served, network):
    """A smaller MTU replaces a larger one; a larger one is ignored."""
    for told, known in ((1400, 1400), (1450, 1400), (1350, 1350), (1400, 1350)):
        learns(served, too_big(told))
        assert known == mtu_of(served, network)


def test_families_do_not_mix(lb):
    """An MTU of an IPv4 real does not lower an IPv6 real's MTU, and vice versa."""
    for rip in (RIP6, packets.RIP):
        lb.add_service(f"{packets.VIP}:{len(rip)}", reals=[rip])
        lb.send(packets.ack(dport=len(rip)))
    before = bytes(lb.tables.paths.memory)

    lb.send(too_big(quoted=outer(dst=f"::ffff:{packets.RIP}")))

    assert before == bytes(lb.tables.paths.memory)
