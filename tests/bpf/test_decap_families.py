# SPDX-License-Identifier: MIT
"""The real server's unwrapper, bpf/decap.c: IPv6 outside, inside, or both."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import GRE, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw
from unwrapped import CIP, CIP6, DIP, DIP6, RIP, RIP6, VIP, VIP6

pytestmark = pytest.mark.root

XDP_DROP, XDP_PASS = 1, 2
NOT_ECT, ECT_1, ECT_0, CE = range(4)
MAPPED_DIP, MAPPED_VIP = f"::ffff:{DIP}", f"::ffff:{VIP}"
IPIP, IPV6, NO_NEXT = 4, 41, 59

TAGS = {"plain": (), "tagged": (Dot1AD(vlan=7), Dot1Q(vlan=5))}
BETWEEN = {
    "ip": lambda inner: inner,
    "gre": lambda inner: GRE() / inner,
    "gre-csum": lambda inner: GRE(chksum_present=1) / inner,
    "gue": lambda inner: gue(inner, chksum=0),
    "gue-csum": lambda inner: gue(inner),
}


def ethernet(*tags: Packet, **fields: object) -> Packet:
    frame = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02", **fields)
    for tag in tags:
        frame /= tag
    return frame


def gue(inner: Packet, **fields: object) -> Packet:
    kind = bytes((0, IPV6 if IPv6 in inner else IPIP, 0, 0))
    return UDP(**{"sport": 50000, "dport": 6080, **fields}) / Raw(kind) / inner


def outer4(**fields: object) -> Packet:
    return IP(**{"src": DIP, "dst": RIP, "ttl": 63, "flags": "DF", **fields})


def outer6(**fields: object) -> Packet:
    return IPv6(**{"src": DIP6, "dst": RIP6, "hlim": 63, "fl": 0xABCDE, **fields})


def request4(**fields: object) -> Packet:
    return IP(**{"src": CIP, "dst": VIP, **fields}) / TCP(sport=40000, dport=80, flags="S")


def request6(**fields: object) -> Packet:
    inner = IPv6(**{"src": CIP6, "dst": VIP6, "fl": 0x12345, **fields})
    return inner / TCP(sport=40000, dport=80, flags="S")


FAMILIES = {
    "6in6": (outer6, request6),
    "4in6": (outer6, request4),
    "6in4": (outer4, request6),
}


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
@pytest.mark.parametrize(("outer", "request_"), FAMILIES.values(), ids=FAMILIES)
def test_all_families_in_all_tunnels_are_unwrapped(real, outer, request_, between, tags):
    """A director's packet passes as the client sent it, with the EtherType of the inner packet."""
    out = real.send(ethernet(*tags) / outer() / between(request_()))

    assert (XDP_PASS, bytes(ethernet(*tags) / request_())) == out
    assert real.counted == {"decapsulated": 1}


@pytest.mark.parametrize(
    ("frame", "counter"),
    [
        (outer6() / TCP(), "pass_not_tunnel"),
        (outer6(nh=NO_NEXT), "pass_not_tunnel"),
        (outer6() / UDP(dport=53) / Raw(bytes(60)), "pass_not_tunnel"),
        (outer6() / GRE(proto=0x6558) / Ether() / request6(), "pass_not_tunnel"),
        (outer6(src="2001:db8:2::201") / request6(), "pass_not_director"),
        (outer6(src="2001:db8:2::201", version=5, plen=9) / request6(), "pass_not_director"),
        (outer6(src=MAPPED_DIP) / request6(), "pass_not_director"),
        (outer6() / request6(dst="2001:db8:2::101"), "pass_not_vip"),
        (outer6() / request4(dst="192.168.2.101"), "pass_not_vip"),
        (outer6() / request6(dst=MAPPED_VIP), "pass_not_vip"),
        (outer4() / request6(dst=MAPPED_VIP, plen=9999), "pass_not_vip"),
        (outer6() / IPv6ExtHdrFragment(m=1) / request6(), "pass_fragment"),
        (outer6() / IPv6ExtHdrDestOpt() / request6(), "pass_options"),
        (outer6() / IPv6ExtHdrHopByHop() / request6(), "pass_options"),
        (outer6() / IPv6ExtHdrRouting() / request6(), "pass_options"),
        (outer6(src=CIP6) / IPv6ExtHdrHopByHop() / request6(), "pass_not_director"),
        (outer4(options=b"\x94\x04\0\0") / request6(), "pass_options"),
        (outer4(flags=0, frag=9) / request6(), "pass_fragment"),
    ],
)
def test_what_is_not_ours_passes_untouched(real, frame, counter):
    """As with IPv4. A v4-mapped source on the wire is never a director."""
    out = real.send(ethernet() / frame)

    assert (XDP_PASS, bytes(ethernet() / frame)) == out
    assert {counter: 1} == real.counted


def test_headers_that_are_cut_short_pass(real):
    """An outer header that is cut short has no sender: it passes."""
    whole = bytes(ethernet() / outer6() / request6())

    assert (XDP_PASS, whole[: 14 + 39]) == real.send(whole[: 14 + 39])
    assert real.counted == {"pass_truncated": 1}


@pytest.mark.parametrize(
    ("frame", "counter"),
    [
        (outer6(version=4) / request6(), "drop_outer"),
        (outer6(plen=61) / request6(), "drop_outer"),
        (outer6(plen=3) / GRE() / request6(), "drop_outer"),
        (outer6(plen=39) / request6(), "drop_inner"),
        (outer6(nh=IPIP) / request6(), "drop_inner"),
        (outer6(nh=IPV6) / request4(), "drop_inner"),
        (outer4(proto=IPIP) / request6(), "drop_inner"),
        (outer4(proto=IPV6) / request4(), "drop_inner"),
        (outer6() / GRE(proto=0x0800) / request6(), "drop_inner"),
        (outer6() / request6(plen=21), "drop_inner"),
        (outer6() / request6(version=7), "drop_inner"),
        (outer6(nh=IPV6), "drop_inner"),
        (outer6() / IPv6(src=CIP6, dst=VIP6) / request6(), "drop_nested"),
        (outer6() / IPv6(src=CIP6, dst=VIP6) / request4(), "drop_nested"),
        (outer4() / IPv6(src=CIP6, dst=VIP6) / GRE() / request4(), "drop_nested"),
        (outer6() / IP(src=CIP, dst=VIP) / request6(), "drop_nested"),
        (outer6(tc=CE) / request6(tc=NOT_ECT), "drop_ecn"),
        (outer6(tc=CE) / request4(tos=NOT_ECT), "drop_ecn"),
        (outer4(tos=CE) / request6(tc=NOT_ECT), "drop_ecn"),
    ],
)
def test_what_lies_is_dropped(real, frame, counter):
    """Packets are dropped for lengths or versions that contradict each other, a tunnel inside, or a
    congestion mark that would be lost.
    """
    action, _ = real.send(ethernet() / frame)

    assert (XDP_DROP, {counter: 1}) == (action, real.counted)


OPTIONS = (
    IPv6ExtHdrHopByHop(),
    IPv6ExtHdrFragment(res1=255),
    IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))]),
    IPv6ExtHdrRouting(type=0, addresses=["2001:db8::1"]),
)


@pytest.mark.parametrize("count", range(1, 5))
def test_tunnels_behind_extension_headers_are_seen(real, count):
    """Up to four extension headers are skipped, also a fragment's, whose second byte is not a
    length.
    """
    inner = IPv6(src=CIP6, dst=VIP6)
    for header in OPTIONS[-count:]:
        inner /= header

    tunnel, _ = real.send(ethernet() / outer6() / inner / request6())
    segment = real.send(ethernet() / outer6() / inner / TCP(sport=40000))

    assert (XDP_DROP, bytes(ethernet() / inner / TCP(sport=40000))) == (tunnel, segment[1])
    assert real.counted == {"drop_nested": 1, "decapsulated": 1}


@pytest.mark.parametrize(("outer", "request_"), FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("mark", range(4))
@pytest.mark.parametrize("own", [ECT_1, ECT_0, CE])
def test_congestion_marks_cross_families(real, outer, request_, mark, own):
    """Marks follow RFC 6040 §4.2. The rest of the traffic class, and all other bits, stay."""
    result = CE if CE in (mark, own) else ECT_1 if ECT_1 in (mark, own) else ECT_0
    result = own if mark == NOT_ECT or (own == ECT_1 and mark != CE) else result
    outer_field = "tos" if outer is outer4 else "tc"
    inner_field = "tos" if request_ is request4 else "tc"

    out = real.send(
        ethernet() / outer(**{outer_field: 0xA0 | mark}) / request_(**{inner_field: 0xB8 | own})
    )

    assert (XDP_PASS, bytes(ethernet() / request_(**{inner_field: 0xB8 | result}))) == out
    assert real.counted == {"decapsulated": 1}


def test_no_director_named_is_any(real):
    """Packets of both families are accepted, except from v4-mapped sources."""
    real.trust(directors=())

    out = real.send(ethernet() / outer6(src="2001:db8:9::9") / request6())
    real.send(ethernet() / outer6(src=MAPPED_DIP) / request6())

    assert (XDP_PASS, bytes(ethernet() / request6())) == out
    assert real.counted == {"decapsulated": 1, "pass_not_director": 1}


@pytest.mark.parametrize(("outer", "request_"), FAMILIES.values(), ids=FAMILIES)
def test_any_bytes_end_in_one_counter(real, outer, request_):
    """A frame cut at any length has one fate, and it is counted once."""
    whole = bytes(ethernet(Dot1AD(vlan=7), Dot1Q(vlan=5)) / outer() / GRE() / request_())
    lengths = range(14, len(whole) + 1)

    actions = {real.send(whole[:length])[0] for length in lengths}

    assert actions <= {XDP_DROP, XDP_PASS}
    assert len(lengths) == sum(real.counted.values())
