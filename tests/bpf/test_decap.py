# SPDX-License-Identifier: MIT
"""The real server's unwrapper, bpf/decap.c, on frames."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, GRE, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw
from unwrapped import CIP, DIP, RIP, VIP

pytestmark = pytest.mark.root

XDP_DROP, XDP_PASS = 1, 2
NOT_ECT, ECT_1, ECT_0, CE = range(4)


def ethernet(*tags: Packet) -> Packet:
    frame = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    for tag in tags:
        frame /= tag
    return frame


def outer(**fields: object) -> Packet:
    return IP(**{"src": DIP, "dst": RIP, "ttl": 63, "flags": "DF", **fields})


def request(**fields: object) -> Packet:
    """A client's packet to the VIP."""
    return IP(**{"src": CIP, "dst": VIP, **fields}) / TCP(sport=40000, dport=80, flags="S")


def test_director_s_packet_is_unwrapped(real):
    """A director's packet for a VIP passes as the client sent it, behind the same Ethernet
    addresses.
    """
    out = real.send(ethernet() / outer() / request())

    assert (XDP_PASS, bytes(ethernet() / request())) == out
    assert real.counted == {"decapsulated": 1}


@pytest.mark.parametrize(
    "tags",
    [(Dot1Q(vlan=5),), (Dot1AD(vlan=7), Dot1Q(vlan=5, prio=3))],
    ids=["one", "two"],
)
def test_vlan_tags_stay(real, tags):
    """One or two VLAN tags stay behind the Ethernet addresses."""
    out = real.send(ethernet(*tags) / outer() / request())

    assert (XDP_PASS, bytes(ethernet(*tags) / request())) == out
    assert real.counted == {"decapsulated": 1}


@pytest.mark.parametrize("size", [3600, 8900])
def test_jumbo_frames_are_unwrapped(real, size):
    """Frames of several buffers are unwrapped if the first one has the headers. All buffers count
    for lengths.
    """
    frame = ethernet() / outer() / request() / Raw(bytes(n % 251 for n in range(size)))

    assert (XDP_PASS, bytes(ethernet() / frame[IP:2][IP])) == real.send(frame)
    assert XDP_DROP == real.send(bytes(frame)[:-1])[0]
    assert real.counted == {"decapsulated": 1, "drop_outer": 1}


GUE = Raw(b"\0\4\0\0")  # version 0, no options: IPv4 inside


def gue(**fields: object) -> Packet:
    return UDP(**{"sport": 50000, "dport": 6080, **fields}) / GUE


@pytest.mark.parametrize(
    "between",
    [GRE(), GRE(chksum_present=1), gue(), gue(chksum=0)],
    ids=["gre", "gre-csum", "gue-csum", "gue"],
)
@pytest.mark.parametrize("tags", [(), (Dot1AD(vlan=7), Dot1Q(vlan=5))], ids=["plain", "tagged"])
def test_other_tunnels_are_unwrapped(real, between, tags):
    """GRE with its checksum and without, and GUE, are stripped as IPIP is."""
    out = real.send(ethernet(*tags) / outer() / between / request())

    assert (XDP_PASS, bytes(ethernet(*tags) / request())) == out
    assert real.counted == {"decapsulated": 1}


@pytest.mark.parametrize(
    "inner",
    [
        GRE(key_present=1, key=7) / IP(src=CIP, dst=VIP) / TCP(),
        GRE(seqnum_present=1, sequence_number=7) / IP(src=CIP, dst=VIP) / TCP(),
        GRE(proto=0x6558) / Ether() / IP(src=CIP, dst=VIP) / TCP(),
        Raw(b"\0\0\x08"),
        gue(dport=6081) / IP(src=CIP, dst=VIP) / TCP(),
        UDP(dport=6080) / Raw(b"\1\4\0\0") / IP(src=CIP, dst=VIP) / TCP(),
        UDP(dport=6080) / Raw(b"\0\4\x80\0") / IP(src=CIP, dst=VIP) / TCP(),
        UDP(dport=6080) / Raw(b"\0\x2f\0\0") / GRE() / IP() / TCP(),
        UDP(dport=6080) / Raw(b"\0\4\0"),
    ],
    ids=["key", "sequence", "ethernet", "short", "port", "options", "flags", "gre", "short-gue"],
)
def test_tunnels_of_other_kinds_pass(real, inner):
    """GRE and GUE with keys, options or other contents are not our director's: they pass."""
    protocol = 17 if UDP in inner else 47
    frame = ethernet() / outer(proto=protocol) / inner

    assert (XDP_PASS, bytes(frame)) == real.send(frame)
    assert real.counted == {"pass_not_tunnel": 1}


@pytest.mark.parametrize("between", [GRE(), GRE(chksum_present=1), gue()])
def test_other_tunnels_are_held_to_the_same(real, between):
    """Sender, VIP and inner packet are checked for GRE and GUE as for IPIP."""
    fates = {
        "pass_not_director": outer(src="192.168.2.201") / between / request(),
        "pass_not_vip": outer() / between / request(dst="192.168.2.101"),
        "drop_nested": outer() / between / IP(src=CIP, dst=VIP) / request(),
        "drop_inner": outer() / between / request(len=41),
        "drop_outer": outer(len=20 + len(between) - 1) / between / request(),
    }

    for frame in fates.values():
        real.send(ethernet() / frame)

    assert dict.fromkeys(fates, 1) == real.counted


@pytest.mark.parametrize(
    "inner",
    [
        IP(src=CIP, dst=VIP) / UDP(sport=5000, dport=53) / Raw(b"question"),
        IP(src=CIP, dst=VIP) / ICMP() / Raw(b"ping"),
        IP(src=CIP, dst=VIP, options=b"\x94\x04\0\0") / TCP(dport=80),
        fragment(IP(src=CIP, dst=VIP, id=9) / UDP(dport=53) / Raw(bytes(3000)), 1400)[1],
        IP(src=CIP, dst=VIP) / UDP(dport=53) / Raw(bytes(1440 - 8)),
    ],
    ids=["udp", "icmp", "options", "fragment", "full-size"],
)
def test_inner_packet_is_of_any_kind(real, inner):
    """Any packet of the client to the VIP arrives, with options and fragments too."""
    out = real.send(ethernet() / outer() / inner)

    assert (XDP_PASS, bytes(ethernet() / inner)) == out
    assert real.counted == {"decapsulated": 1}


def test_padding_after_the_packet_stays(real):
    """Padding behind the outer packet stays, and the kernel cuts it off."""
    out = real.send(bytes(ethernet() / outer() / request()) + bytes(6))

    assert (XDP_PASS, bytes(ethernet() / request()) + bytes(6)) == out
    assert real.counted == {"decapsulated": 1}


@pytest.mark.parametrize(
    ("frame", "counter"),
    [
        (ethernet() / ARP(pdst=VIP), "pass_not_ip"),
        (ethernet() / IPv6(dst="2001:db8::1") / TCP(), "pass_not_tunnel"),
        (ethernet(Dot1Q(), Dot1Q(), Dot1Q()) / outer() / request(), "pass_not_ip"),
        (ethernet() / request(), "pass_not_tunnel"),
        (ethernet() / outer(src="192.168.2.201") / request(), "pass_not_director"),
        (ethernet() / outer(src="192.168.2.201", ihl=3, len=9) / request(), "pass_not_director"),
        (ethernet() / outer() / request(dst="192.168.2.101"), "pass_not_vip"),
        (ethernet() / outer() / request(dst="192.168.2.101", ihl=2), "pass_not_vip"),
        (ethernet() / outer(flags="MF") / request(), "pass_fragment"),
        (ethernet() / outer(flags=0, frag=100) / request(), "pass_fragment"),
        (ethernet() / outer(options=b"\x94\x04\0\0") / request(), "pass_options"),
        (bytes(ethernet() / outer() / request())[: 14 + 19], "pass_truncated"),
    ],
)
def test_what_is_not_ours_passes_untouched(real, frame, counter):
    """A packet that is not from a known director for a known VIP passes unchanged, even if it is
    invalid.
    """
    out = real.send(frame)

    assert (XDP_PASS, bytes(frame)) == out
    assert {counter: 1} == real.counted


@pytest.mark.parametrize(
    ("frame", "counter"),
    [
        (ethernet() / outer(version=5) / request(), "drop_outer"),
        (ethernet() / outer(ihl=4) / request(), "drop_outer"),
        (ethernet() / outer(len=19) / request(), "drop_outer"),
        (ethernet() / outer(len=61) / request(), "drop_outer"),
        (bytes(ethernet() / outer() / request())[:-1], "drop_outer"),
        (ethernet() / outer(chksum=1) / request(), "drop_checksum"),
        (ethernet() / outer(proto=4) / Raw(b"E" * 19), "drop_inner"),
        (bytes(ethernet() / outer(proto=4)) + bytes(request()), "drop_inner"),
        (ethernet() / outer(proto=4) / Raw(bytes(IPv6(dst="::1") / TCP())), "drop_inner"),
        (ethernet() / outer() / request(ihl=4), "drop_inner"),
        (ethernet() / outer() / request(len=19), "drop_inner"),
        (ethernet() / outer() / request(len=41), "drop_inner"),
        (ethernet() / outer() / IP(src=CIP, dst=VIP) / request(), "drop_nested"),
        (ethernet() / outer() / IP(src=CIP, dst=VIP) / IPv6(), "drop_nested"),
        (ethernet() / outer() / IP(src=CIP, dst=VIP) / GRE() / request(), "drop_nested"),
        (ethernet() / outer(tos=CE) / request(tos=NOT_ECT), "drop_ecn"),
    ],
)
def test_what_lies_is_dropped(real, frame, counter):
    """A director's packet is dropped if its headers contradict each other or it has a
    tunnel in it.
    """
    action, _ = real.send(frame)

    assert action == XDP_DROP
    assert {counter: 1} == real.counted


@pytest.mark.parametrize(
    ("mark", "own", "result"),
    [
        (NOT_ECT, NOT_ECT, NOT_ECT),
        (NOT_ECT, ECT_0, ECT_0),
        (NOT_ECT, ECT_1, ECT_1),
        (NOT_ECT, CE, CE),
        (ECT_0, NOT_ECT, NOT_ECT),
        (ECT_0, ECT_0, ECT_0),
        (ECT_0, ECT_1, ECT_1),
        (ECT_0, CE, CE),
        (ECT_1, NOT_ECT, NOT_ECT),
        (ECT_1, ECT_0, ECT_1),
        (ECT_1, ECT_1, ECT_1),
        (ECT_1, CE, CE),
        (CE, ECT_0, CE),
        (CE, ECT_1, CE),
        (CE, CE, CE),
    ],
)
@pytest.mark.parametrize("ident", [0, 1, 0x1234, 0xFFFF])
def test_congestion_marks_follow_rfc_6040(real, mark, own, result, ident):
    """The inner ECN field and checksum follow RFC 6040 §4.2. DSCP stays the client's."""
    dscp = 0xB8
    out = real.send(ethernet() / outer(tos=mark) / request(tos=dscp | own, id=ident))

    assert (XDP_PASS, bytes(ethernet() / request(tos=dscp | result, id=ident))) == out
    assert real.counted == {"decapsulated": 1}


def test_no_director_named_is_any(real):
    """Without named directors, a real accepts packets from anybody."""
    real.trust(directors=())

    out = real.send(ethernet() / outer(src="203.0.113.9") / request())

    assert (XDP_PASS, bytes(ethernet() / request())) == out
    assert real.counted == {"decapsulated": 1}


def test_trust_is_replaced(real):
    """New directors and VIPs replace the old ones."""
    real.trust(vips=("192.168.2.101",), directors=("192.168.2.201",))
    kept = ethernet() / outer() / request()
    other = ethernet() / outer(src="192.168.2.201") / request(dst="192.168.2.101")

    assert (XDP_PASS, bytes(kept)) == real.send(kept)
    assert (XDP_PASS, bytes(ethernet() / request(dst="192.168.2.101"))) == real.send(other)
    assert real.counted == {"pass_not_director": 1, "decapsulated": 1}


def test_any_bytes_end_in_one_counter(real):
    """A frame cut at any length has one fate, and it is counted once."""
    whole = bytes(ethernet(Dot1AD(vlan=7), Dot1Q(vlan=5)) / outer() / request())
    lengths = range(14, len(whole) + 1)

    actions = {real.send(whole[:length])[0] for length in lengths}

    assert actions <= {XDP_DROP, XDP_PASS}
    assert len(lengths) == sum(real.counted.values())
