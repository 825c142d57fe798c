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
    """A router's complaint about it."""
    error = fields.pop("error", ICMPv6PacketTooBig(mtu=mtu))
    return icmp6_error(quoted or outer(), error=error, **{"dst": DIP6, **fields})


def segment(length, network):
    """A segment of so many bytes of IP packet, with DF."""
    return packets.tcp(
        "A", payload=b"x" * (length - (60 if network is ip6 else 40)), network=network
    )


def learns(lb, frame):
    """It is looked at, and passes as it came; what was learned counts from the next tick on."""
    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_not_vip": 1} == lb.counted
    lb.expire_hop(RIP6)


def mtu_of(lb, network):
    """The path's MTU: what leaves for the real, and what is answered."""
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
    """What the tunnel carries."""
    return request.param


@pytest.fixture
def served(lb, network):
    """A service, whose real is in use."""
    lb.add_service(f"{VIPS[network]}:80", reals=[RIP6])
    lb.send(segment(100, network))
    lb.counted  # noqa: B018
    return lb


@pytest.mark.parametrize("nh", [4, 41, 47, 17], ids=["4in6", "6in6", "GRE", "GUE"])
def test_mtu_is_learned(served, network, nh):
    """The next segments too big for that path are answered, with what is left in the tunnel."""
    assert 1500 == mtu_of(served, network)

    learns(served, too_big(quoted=outer(nh)))

    assert 1400 == mtu_of(served, network)


def test_only_too_big_of_our_tunnels_lowers(served, network):
    """Others pass as they came, too, and change nothing."""
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
    """IPv6's least MTU (RFC 8201 §4). On that path what fits goes on: nobody can forge its end."""
    learns(served, too_big(told))
    fits, does_not = segment(known - OUTER, network), segment(known - OUTER + 1, network)

    assert (XDP_TX, packets.ipip(fits, RIP6)) == served.send(fits)
    assert {"forwarded": 1} == served.counted
    served.send(does_not)
    assert served.counted.keys() <= {"replied_too_big", "drop_small_mtu"}


def test_lower_counts_higher_does_not(served, network):
    """A path has the least MTU of its links."""
    for told, known in ((1400, 1400), (1450, 1400), (1350, 1350), (1400, 1350)):
        learns(served, too_big(told))
        assert known == mtu_of(served, network)


def test_families_do_not_mix(lb):
    """What is told of an IPv4 real lowers no IPv6 one's, nor the other way round."""
    for rip in (RIP6, packets.RIP):
        lb.add_service(f"{packets.VIP}:{len(rip)}", reals=[rip])
        lb.send(packets.ack(dport=len(rip)))
    before = bytes(lb.tables.paths.memory)

    lb.send(too_big(quoted=outer(dst=f"::ffff:{packets.RIP}")))

    assert before == bytes(lb.tables.paths.memory)
