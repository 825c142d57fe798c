# SPDX-License-Identifier: MIT
"""Whatever bytes come in, they end in one verdict and one counter."""

import packets
import pytest
from balancer import XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network import SECOND_HOP
from packets import service_vlan, vlan

pytestmark = pytest.mark.root

# The tables are not emptied between examples: what must hold, holds in any state of theirs.
many = settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

SECOND_REAL, ANY_PORT_VIP = "10.3.0.7", "10.0.0.81"
MTU = 1480
REALS = {"192.168.0.7", "192.168.0.8", "192.168.0.9", SECOND_REAL}
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
    return lb


@st.composite
def damaged(draw):
    """A frame that was well once."""
    frame = bytearray(draw(st.sampled_from(BASES)))
    for at, value in draw(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4)):
        if at < len(frame):
            frame[at] = value
    if draw(st.booleans()):
        frame = frame[: draw(st.integers(14, len(frame)))]
    return bytes(frame) + draw(st.binary(max_size=8))


@st.composite
def headers(draw):
    """An IPv4 packet to a VIP, all of whose other fields are anything."""
    fields = draw(
        st.fixed_dictionaries(
            {
                "dst": st.sampled_from(["10.0.0.80", ANY_PORT_VIP, "10.0.0.82", "10.0.0.83"]),
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
    """One counter moves by one; the action is what the counter's name says; so are the bytes."""
    action, out = lb.send(frame)
    counted = lb.counted

    assert [1] == list(counted.values())
    (counter,) = counted
    if counter.startswith("pass_"):
        assert (XDP_PASS, frame) == (action, out)
    elif counter.startswith("drop_"):
        assert XDP_DROP == action
    elif counter == "replied_too_big":
        assert (XDP_TX, packets.too_big(frame, MTU)) == (action, out)
    else:
        check_forwarded(frame, counter, (action, out))


def check_forwarded(frame, counter, sent):
    """A forwarded frame is its input, its TTL aside, behind an outer header to a real."""
    real = packets.outer_dst(sent[1])
    assert real in REALS
    way = {"src": "192.168.3.200", "hop": SECOND_HOP} if real == SECOND_REAL else {}
    number = packets.outer_id(sent[1])
    assert packets.ipip(frame, real, id=number, **way) == sent[1]
    assert (XDP_REDIRECT if way else XDP_TX) == sent[0]
    assert ("forwarded_redirect" if way else "forwarded") == counter
    if sent[1][12:14] == b"\x08\x00" and sent[1][20] & 0x40:
        assert 0 == number


@many
@given(st.binary(min_size=14, max_size=200))
def test_any_bytes_end_in_one_counter(served, frame):
    """Bytes without any sense."""
    check(served, frame)


@many
@given(damaged())
def test_damaged_frames_end_in_one_counter(served, frame):
    """Frames with a few bytes changed, cut short or longer."""
    check(served, frame)


@many
@given(headers())
def test_any_header_ends_in_one_counter(served, frame):
    """Packets to a VIP with headers of every kind."""
    check(served, frame)
