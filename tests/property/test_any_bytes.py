# SPDX-License-Identifier: MIT
"""Whatever bytes come in, they end in one verdict and one counter."""

import packets
import pytest
from balancer import XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network import SECOND_HOP
from packets import VIP6, ip6, service_vlan, vlan
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop

pytestmark = pytest.mark.root

# The tables are not emptied between examples: what must hold, holds in any state of theirs.
many = settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

SECOND_REAL, ANY_PORT_VIP = "10.3.0.7", "10.0.0.81"
MIXED_VIP = "10.0.0.84"  # its real is of IPv6; an IPv6 VIP has one of IPv4
MTU, MTU6 = 1480, 1460
REALS = {"192.168.0.7", "192.168.0.8", "192.168.0.9", SECOND_REAL, packets.RIP6}
BASES = [
    packets.syn(),
    packets.ack(),
    packets.rst(tags=(vlan(5),)),
    packets.syn(tags=(service_vlan(7), vlan(5))),
    packets.tcp("PA", payload=b"GET / HTTP/1.1"),
    packets.tcp("A", payload=bytes(1460)),
    packets.tcp("A", payload=bytes(1460), tags=(vlan(5),)),
    packets.udp(),
    packets.udp(payload=bytes(1400), ip_flags=""),
    packets.udp(payload=bytes(1460), ip_flags=""),
    packets.syn(options=b"\x01" * 8),
    packets.syn(ttl=1),
    packets.syn(dst=ANY_PORT_VIP, dport=9),
    packets.udp(dst=ANY_PORT_VIP, dport=9),
    packets.syn(dst="10.0.0.82"),
    packets.syn(dst="10.0.0.83"),
    packets.icmp(),
    packets.arp(vlan(5)),
    packets.ipv6(),
    packets.syn(network=ip6),
    packets.ack(network=ip6, tags=(vlan(5),)),
    packets.udp(network=ip6, extensions=(IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt())),
    packets.udp(network=ip6, payload=bytes(1440)),
    packets.icmp6(),
    packets.syn(dst=MIXED_VIP),
    *packets.fragments(),
]


@pytest.fixture
def served(lb):
    """Services of every kind: hashed, by turns, in transition, one-packet, local, redirected."""
    lb.add_service("10.0.0.80:80", reals=["192.168.0.7", "192.168.0.8"], flags=["mh-fallback"])
    lb.set_weight("192.168.0.7", 0)
    lb.add_service("10.0.0.80:80", reals=["192.168.0.7", SECOND_REAL], scheduler="rr", udp=True)
    lb.add_service(f"{ANY_PORT_VIP}:0", reals=["192.168.0.7", SECOND_REAL], scheduler="sh")
    lb.add_service(
        f"{ANY_PORT_VIP}:0", reals=["192.168.0.8"], scheduler="wrr", udp=True, one_packet=True
    )
    lb.add_service("10.0.0.82:80", reals=[packets.DIP, "192.168.0.9"], scheduler="rr")
    lb.add_service("10.0.0.83:80", reals=[])
    lb.add_service(f"[{VIP6}]:80", reals=[packets.RIP6, "192.168.0.9"], flags=["mh-port"])
    lb.add_service(f"[{VIP6}]:80", reals=[packets.RIP6], scheduler="rr", udp=True)
    lb.add_service(f"{MIXED_VIP}:80", reals=[packets.RIP6])
    return lb


@st.composite
def damaged(draw):
    """A damaged frame, which was valid before."""
    frame = bytearray(draw(st.sampled_from(BASES)))
    for at, value in draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4)):
        if at < len(frame):
            frame[at] = value
    if draw(st.booleans()):
        frame = frame[: draw(st.integers(14, len(frame)))]
    return bytes(frame) + draw(st.binary(max_size=8))


@st.composite
def headers(draw):
    """An IPv4 packet to a VIP. All other fields have any value."""
    fields = draw(
        st.fixed_dictionaries(
            {
                "dst": st.sampled_from(
                    ["10.0.0.80", ANY_PORT_VIP, "10.0.0.82", "10.0.0.83", MIXED_VIP]
                ),
                "ihl": st.sampled_from([5, 5, 5, 5, 6, 15, 4]),
                "tos": st.integers(0, 255),
                "id": st.integers(0, 65535),
                "ttl": st.integers(0, 255),
                "proto": st.sampled_from([6, 6, 6, 17, 17, 17, 1, 4, 50]),
                "ip_flags": st.sampled_from(["", "DF", "MF", "evil", "DF+evil"]),
                "frag": st.sampled_from([0, 0, 0, 1]),
                "chksum": st.none() | st.integers(0, 65535),
                "len": st.none() | st.integers(0, 100),
                "version": st.sampled_from([4, 4, 4, 5]),
            }
        )
    )
    ports = draw(st.sampled_from([b"\x9c\x40\x00\x50", b"\x00\x50\x00\x51", b"\0\0\0\0"]))
    payload = ports + draw(st.binary(max_size=60))
    return packets.ip(packets.Raw(payload), **fields)


def check(lb, frame):
    """Exactly one counter moves, by one. The action and the frame agree with its name."""
    action, out = lb.send(frame)
    counted = lb.counted

    assert [1] == list(counted.values())
    (counter,) = counted
    if counter.startswith("pass_"):
        assert (XDP_PASS, frame) == (action, out)
    elif counter.startswith("drop_"):
        assert XDP_DROP == action
    elif counter == "replied_too_big":
        is_ipv6 = packets.is_ipv6(packets.split(frame)[1])
        answer = packets.too_big6 if is_ipv6 else packets.too_big
        assert (XDP_TX, out) in [(action, answer(frame, mtu)) for mtu in (MTU, MTU6)]
    else:
        check_forwarded(frame, counter, (action, out))


def check_forwarded(frame, counter, sent):
    """A forwarded frame is its input behind an outer header to a real. Only the TTL differs."""
    real = packets.outer_dst(sent[1])
    assert real in REALS
    way = {"src": "192.168.3.200", "hop": SECOND_HOP} if real == SECOND_REAL else {}
    number = packets.outer_id(sent[1])
    assert packets.ipip(frame, real, id=number, **way) == sent[1]
    assert (XDP_REDIRECT if way else XDP_TX) == sent[0]
    assert ("forwarded_redirect" if way else "forwarded") == counter
    if ":" not in real and packets.split(sent[1])[1][6] & 0x40:
        assert 0 == number


@st.composite
def headers6(draw):
    """An IPv6 packet to a VIP. All other fields have any value."""
    fields = draw(
        st.fixed_dictionaries(
            {
                "version": st.sampled_from([6, 6, 6, 4]),
                "tc": st.integers(0, 255),
                "fl": st.integers(0, 0xFFFFF),
                "plen": st.none() | st.integers(0, 100),
                "nh": st.sampled_from([6, 6, 6, 17, 17, 17, 0, 43, 44, 60, 58, 59, 51]),
                "hlim": st.integers(0, 255),
                "src": st.sampled_from(["::", "::1", "ff02::1", "::ffff:1.2.3.4", "2001:db8::1"]),
            }
        )
    )
    start = st.sampled_from([b"\x9c\x40\x00\x50", b"\x06\0\0\0\0\0\0\0", b"\x11\x01\0\0"])
    return packets.ip6(packets.Raw(draw(start) + draw(st.binary(max_size=60))), **fields)


@many
@given(st.binary(min_size=14, max_size=200))
def test_any_bytes_end_in_one_counter(served, frame):
    """Random bytes end in one counter."""
    check(served, frame)


@many
@given(damaged())
def test_damaged_frames_end_in_one_counter(served, frame):
    """Frames with a few bytes changed, cut or added end in one counter."""
    check(served, frame)


@many
@given(headers())
def test_any_header_ends_in_one_counter(served, frame):
    """Packets to a VIP with any headers end in one counter."""
    check(served, frame)


@many
@given(headers6())
def test_any_ipv6_header_ends_in_one_counter(served, frame):
    """IPv6 packets to a VIP with any headers end in one counter."""
    check(served, frame)
