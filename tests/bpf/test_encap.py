# SPDX-License-Identifier: MIT
"""The outer header, field by field (RFC 2003, RFC 6040, RFC 6864), and the inner one."""

import ctypes
import os
from pathlib import Path
from socket import if_nametoindex

import packets
import pytest
from balancer import XDP_DROP, XDP_TX
from network import SECOND_IFNAME
from packets import service_vlan, vlan
from scapy.utils import checksum

from xdplb.kernel import libbpf, loader, program_cache, program_text
from xdplb.kernel.tables import decode_type, map_memory
from xdplb.model.network import Vlan

pytestmark = pytest.mark.root

NOT_ECT, ECT_1, ECT_0, CE = range(4)
EF = 46 << 2


@pytest.fixture
def served(lb):
    """A director with one TCP and one UDP service."""
    lb.add_service()
    lb.add_service(udp=True)
    return lb


def test_syn_leaves_in_ipip(lb):
    """A SYN to a VIP is sent to its real, wrapped once, otherwise untouched."""
    lb.add_service("10.0.0.80:80", reals=["192.168.0.7"])
    syn = packets.syn(dst="10.0.0.80", dport=80)

    out = lb.send(syn)

    assert (XDP_TX, packets.ipip(syn, dst="192.168.0.7")) == out
    assert {"forwarded": 1} == lb.counted


def test_datagram_leaves_in_ipip(lb):
    """UDP is wrapped as TCP is."""
    lb.add_service("10.0.0.80:53", reals=["192.168.0.7"], udp=True)
    question = packets.udp(dst="10.0.0.80", dport=53)

    out = lb.send(question)

    assert (XDP_TX, packets.ipip(question, dst="192.168.0.7")) == out
    assert {"forwarded": 1} == lb.counted


@pytest.mark.parametrize("dscp", [0, EF, 0xFC])
@pytest.mark.parametrize("ecn", [NOT_ECT, ECT_1, ECT_0, CE])
def test_tos_and_ecn_are_copied(served, dscp, ecn):
    """The outer header has the inner one's DSCP and ECN (RFC 6040, normal mode)."""
    syn = packets.syn(tos=dscp | ecn)

    out = served.send(syn)

    assert (XDP_TX, packets.ipip(syn)) == out
    assert dscp | ecn == packets.split(out[1])[1][1]


@pytest.mark.parametrize("ttl", [2, 3, 64, 128, 255])
def test_ttl_is_spent_inside_and_copied_outside(served, ttl):
    """The inner TTL is one less, its checksum right, and the outer one is the same."""
    syn = packets.syn(ttl=ttl)

    out = served.send(syn)

    assert (XDP_TX, packets.ipip(syn)) == out
    outer, inner = packets.split(out[1])[1][:20], packets.split(out[1])[1][20:]
    assert (ttl - 1, ttl - 1) == (outer[8], inner[8])


def test_inner_checksum_is_right_for_every_carry(served):
    """The checksum is adjusted, not computed: its carries come out right, 0xfeff and 0xffff too."""
    wanted = {0x0001, 0x00FF, 0x0100, 0xFDFF, 0xFE00, 0xFEFE, 0xFEFF, 0xFF00, 0xFFFE}
    base = int.from_bytes(packets.syn(id=0)[24:26], "big")
    seen = set()
    for check in wanted:
        syn = packets.syn(id=(base - check) % 0xFFFF)
        seen.add(int.from_bytes(syn[24:26], "big"))

        action, out = served.send(syn)

        assert (XDP_TX, packets.ipip(syn)) == (action, out)
        assert 0 == checksum(out[34:54])
    assert wanted == seen


def test_wrong_inner_checksum_stays_wrong(served):
    """A header that was damaged on the way is not made good: the real drops it."""
    syn = packets.syn(chksum=0x1111)

    out = served.send(syn)

    assert (XDP_TX, packets.ipip(syn)) == out
    assert 0x1211 == int.from_bytes(out[1][44:46], "big")


@pytest.mark.parametrize("length", [*range(8), 63, 64, 1400, 1438])
def test_length_and_checksum_for_payloads_of_any_size(served, length):
    """The outer length covers the inner packet, and the outer checksum covers it."""
    frame = packets.tcp("PA", payload=b"x" * length)

    out = served.send(frame)

    assert (XDP_TX, packets.ipip(frame)) == out
    assert 60 + length == int.from_bytes(out[1][16:18], "big")


@pytest.mark.parametrize(
    "real", ["1.2.3.4", "223.255.255.254", "192.168.0.7", "100.64.0.0", "10.255.255.255"]
)
def test_outer_checksum_for_any_real(lb, real):
    """The precomputed part of the checksum is right whatever the real's address."""
    lb.add_service(reals=[real])
    syn = packets.syn()

    assert (XDP_TX, packets.ipip(syn, dst=real)) == lb.send(syn)


@pytest.fixture(scope="session")
def wrapper(balancers):
    """dirty.c in front of the director: call it with how much headroom to leave."""
    balancer = balancers()
    with balancer.test() as lb:
        source = program_text.read_source("dirty.c", ["dirty"], directory=Path(__file__).parent)
        program = loader.load(program_cache.compiled(source))
        link = libbpf.link_create(program.fd, lb.unused_ifindex, libbpf.XDP_FLAGS_SKB_MODE)
    zero = ctypes.c_uint32(0)
    libbpf.map_update(program.maps["targets"], zero, ctypes.c_uint32(balancer.fd))
    plan = map_memory(program.maps["plans"], decode_type(program.tables["plans"]["leaf"]), 1)[0]

    def send(frame, left=0):
        plan.left = left
        run = libbpf.prog_test_run(program.fd, frame, ifindex=balancer.ifindex)
        return run.action, run.frame

    yield send
    os.close(link)
    program.close()


@pytest.mark.parametrize("tags", [(), (vlan(5),), (service_vlan(7), vlan(5))], ids=len)
def test_no_byte_of_the_headroom_shows(served, wrapper, tags):
    """Headroom full of 0xFF, as drivers leave it: every byte of what is added is written."""
    frames = [packets.syn(tags=tags), packets.udp(tags=tags, ip_flags="DF")]

    for frame in frames:
        assert (XDP_TX, packets.ipip(frame)) == wrapper(frame)
    assert {"forwarded": 2} == served.counted


def test_no_byte_of_the_headroom_shows_in_replies(served, wrapper):
    """The ICMP answer too is written whole."""
    frame = packets.tcp("A", payload=bytes(1441))

    assert (XDP_TX, packets.too_big(frame, 1480)) == wrapper(frame)
    assert {"replied_too_big": 1} == served.counted


@pytest.mark.parametrize("kind", ["ipip", "gre+csum", "gue+csum"])
@pytest.mark.parametrize("real", [packets.RIP, packets.RIP6])
def test_no_byte_of_the_headroom_shows_around_ipv6(lb, wrapper, real, kind):
    """Headers of IPv6 too are written whole, answers as well."""
    lb.add_service(f"[{packets.VIP6}]:80", reals=[f"{real} tunnel={kind}"])
    frame = packets.syn(network=packets.ip6, tags=(vlan(5),))
    added = {"ipip": 0, "gre+csum": 8, "gue+csum": 12}[kind] + (40 if ":" in real else 20)
    large = packets.tcp("A", network=packets.ip6, payload=bytes(1441))

    action, out = wrapper(frame)

    fields = {"dst": real, "id": packets.outer_id(out)}
    wrapped = {
        "ipip": lambda: packets.ipip(frame, **fields),
        "gre+csum": lambda: packets.gre(frame, checksum=True, **fields),
        "gue+csum": lambda: packets.gue(
            frame, sport=packets.outer_ports(out)[0], check=True, **fields
        ),
    }
    assert (XDP_TX, wrapped[kind]()) == (action, out)
    assert (XDP_TX, packets.too_big6(large, 1500 - added)) == wrapper(large)


@pytest.mark.parametrize("left", [19, 39])
def test_without_headroom_for_ipv6_frames_are_dropped(lb, wrapper, left):
    """The outer header takes 40 bytes, not 20."""
    lb.add_service(f"[{packets.VIP6}]:80", reals=[packets.RIP6])
    syn = packets.syn(network=packets.ip6)

    assert XDP_DROP == wrapper(syn, left=left)[0]
    assert {"drop_headroom": 1} == lb.counted
    assert (XDP_TX, packets.ipip(syn, packets.RIP6)) == wrapper(syn, left=40)


@pytest.mark.parametrize("left", [1, 8, 19])
def test_without_headroom_frames_are_dropped(served, wrapper, left):
    """Where a driver leaves no room for the outer header, a counter of its own says so."""
    action, _ = wrapper(packets.syn(), left=left)

    assert XDP_DROP == action
    assert {"drop_headroom": 1} == served.counted


def test_headroom_of_20_bytes_is_enough(served, wrapper):
    """The outer header's own length suffices."""
    syn = packets.syn()

    assert (XDP_TX, packets.ipip(syn)) == wrapper(syn, left=20)
    assert {"forwarded": 1} == served.counted


@pytest.mark.parametrize("left", [12, 15])
def test_tags_that_were_taken_off_are_room(served, wrapper, left):
    """They are those of the way it came."""
    frame = packets.syn(tags=(vlan(5), vlan(6)))

    assert (XDP_TX, packets.ipip(frame)) == wrapper(frame, left=left)


@pytest.mark.parametrize("tags", [1, 2])
@pytest.mark.parametrize("lacking", [1, 4])
def test_the_ways_tags_need_room(lb, wrapper, tags, lacking):
    """Who has not enough for them is dropped, with the same name."""
    second = if_nametoindex(SECOND_IFNAME)
    way = Vlan(second, tuple((0x8100, number) for number in range(tags)))
    lb.add_service(reals=["10.3.0.7"])
    lb.tables.put_vlans({second: way})

    assert XDP_DROP == wrapper(packets.syn(), left=20 + 4 * tags - lacking)[0]
    assert XDP_DROP != wrapper(packets.syn(), left=20 + 4 * tags)[0]
    assert {"drop_headroom": 1, "forwarded_redirect": 1} == lb.counted
