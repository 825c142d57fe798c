# SPDX-License-Identifier: MIT
"""Packets that come in fragments: all of them reach one real, each in a tunnel of its own."""

from dataclasses import replace

import packets
import pytest
from balancer import SMALL, XDP_DROP, XDP_PASS, XDP_TX
from families import IPV4, IPV6
from packets import fragments, fragments6
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.packet import Raw

from xdplb.model.address import parse_prefix

pytestmark = pytest.mark.root

LIFE = 30  # ticks: bpf/fragment.h


@pytest.fixture(params=[IPV4, IPV6], ids=["IPv4", "IPv6"])
def family(request):
    """Each test of both."""
    return request.param


@pytest.fixture
def served(lb, family):
    """A service of UDP that takes turns: A, B, A, …"""
    lb.add_service(family.endpoint, reals=[family.b, family.a], udp=True, scheduler="rr")
    return lb


def wrapped(lb, frame, real):
    """What is sent: the frame as it came, to that real."""
    action, out = lb.send(frame)
    assert (XDP_TX, packets.ipip(frame, real, id=packets.outer_id(out))) == (action, out)


def goes_up(lb, frame, reason="fragment"):
    """It passes as it came."""
    assert (XDP_PASS, frame) == lb.send(frame)
    assert {f"pass_{reason}": 1} == lb.counted


def segment(flags):
    """TCP, as a part of a packet that is to be cut."""
    return TCP(sport=packets.SPORT, dport=packets.DPORT, flags=flags)


@pytest.mark.parametrize("size", [200, 1400])
def test_fragments_follow_the_first(served, family, size):
    """Each leaves in a tunnel of its own, otherwise untouched, for the first one's real."""
    pieces = family.cut(size)

    for piece in pieces:
        wrapped(served, piece, family.a)

    assert {"forwarded": len(pieces)} == served.counted
    sent = sum(len(piece) - 14 for piece in pieces)
    assert {"packets": len(pieces), "bytes": sent, "flows": 1} == served.stats(family.a)


def test_first_fragment_is_its_flows(served, family):
    """A first fragment follows its flow's record, and begins it, as a whole packet does."""
    wrapped(served, packets.udp(network=family.whole), family.a)
    wrapped(served, packets.udp(network=family.whole, sport=9), family.b)
    first, *rest = family.cut()

    for piece in (first, *reversed(rest)):
        wrapped(served, piece, family.a)

    assert 1 == served.stats(family.a)["flows"]


@pytest.mark.parametrize("scheduler", ["mh", "sh", "wrr"])
def test_every_scheduler(lb, family, scheduler):
    """Whatever chose the real, the rest follow it."""
    reals = [family.a, family.b]
    lb.add_service(family.endpoint, reals=reals, udp=True, scheduler=scheduler)
    real = lb.real_of(packets.udp(network=family.whole))

    for piece in family.cut():
        wrapped(lb, piece, real)


def test_one_packet_services_keep_a_datagram_together(lb, family):
    """Each datagram is balanced by itself, but not each of its pieces."""
    a, b = family.a, family.b
    lb.add_service(family.endpoint, reals=[b, a], udp=True, scheduler="rr", one_packet=True)

    for number, real in enumerate((a, b, a)):
        for piece in family.cut(id=number):
            wrapped(lb, piece, real)


@pytest.mark.parametrize("flags", ["S", "PA"])
def test_segments_in_fragments(lb, family, flags):
    """TCP's too."""
    lb.add_service(family.endpoint, reals=[family.a, family.b])
    real = lb.real_of(packets.ack(network=family.whole))

    for piece in family.cut(600, segment(flags)):
        wrapped(lb, piece, real)


def test_families_mix(lb, family):
    """In an outer header of the other family."""
    other = {IPV4: IPV6, IPV6: IPV4}[family]
    lb.add_service(family.endpoint, reals=[other.a], udp=True)

    for piece in family.cut():
        wrapped(lb, piece, other.a)


def test_no_piece_of_midstream_without_flow(lb, family):
    """A first fragment that goes up has the others go up."""
    lb.add_service(family.endpoint, reals=[family.a, family.b], scheduler="rr")
    first, *rest = family.cut(600, segment("A"))

    goes_up(lb, first, "no_flow")
    for piece in rest:
        goes_up(lb, piece)


def test_before_the_first_they_go_up(served, family):
    """A piece whose first has not come goes up, rather than astray."""
    first, *rest = family.cut()

    for piece in rest:
        goes_up(served, piece)
    wrapped(served, first, family.a)
    wrapped(served, rest[0], family.a)


@pytest.mark.parametrize("other", ["src", "id", "dst"])
def test_fragments_of_another_packet_go_up(served, family, other):
    """Source, VIP and ID tell packets apart."""
    served.add_service(family.other, reals=[family.a], udp=True)
    served.send(family.cut()[0])
    served.counted  # noqa: B018
    values = {"src": family.a, "id": 78, "dst": family.other_vip}

    goes_up(served, family.cut(**{other: values[other]})[1])


def test_the_protocol_tells_ipv4s_apart_only(lb):
    """RFC 791 §3.2; in IPv6 later fragments may name any (RFC 8200 §4.5)."""
    for family in (IPV4, IPV6):
        lb.add_service(family.endpoint, reals=[family.a], udp=True)
        lb.send(family.cut()[0])
    second, at = fragments6()[1], 14 + 40

    wrapped(lb, second[:at] + b"\x06" + second[at + 1 :], IPV6.a)
    lb.counted  # noqa: B018
    goes_up(lb, fragments(proto=6)[1])


def test_a_first_fragment_is_remembered_for_a_while(served, family):
    """As long as a host would wait for the rest."""
    first, second, *_ = family.cut()
    wrapped(served, first, family.a)

    served.pass_ticks(LIFE - 1)
    wrapped(served, second, family.a)
    served.pass_ticks(1)
    served.counted  # noqa: B018

    goes_up(served, second)


def test_newest_first_fragment_counts(lb, family):
    """An ID that is used again: the rest go where the newest first one went."""
    a, b = family.a, family.b
    lb.add_service(family.endpoint, reals=[b, a], udp=True, scheduler="rr", one_packet=True)
    first, second, *_ = family.cut()

    for real in (a, b, a):
        wrapped(lb, first, real)
        wrapped(lb, second, real)


def test_tagged_and_padded_fragments(served, family):
    """As any frame."""
    for piece in family.cut():
        tagged = piece[:12] + b"\x81\x00\x00\x05" + piece[12:] + bytes(5)

        wrapped(served, tagged, family.a)


def test_fragments_of_what_is_no_service_go_up(served, family):
    """The first under its own reason, the rest as fragments."""
    first, second, *_ = family.cut(600, segment("S"))

    goes_up(served, first, "no_service")
    goes_up(served, second)


def ipv6_first(payload, protocol):
    """A first fragment of IPv6."""
    return packets.ip6(Raw(payload), extensions=(IPv6ExtHdrFragment(nh=protocol, m=1),))


STRANGE = {
    "ICMP": packets.ip(packets.ICMP() / Raw(bytes(64)), ip_flags="MF"),
    "later ICMP": packets.ip(Raw(bytes(64)), proto=1, frag=8),
    "ESP": packets.ip(Raw(bytes(64)), proto=50, ip_flags="MF"),
    "too short for UDP": packets.ip(Raw(bytes(7)), proto=17, ip_flags="MF"),
    "too short for TCP": packets.ip(Raw(bytes(19)), proto=6, ip_flags="MF"),
    "too short by its length": packets.ip(Raw(bytes(40)), proto=17, ip_flags="MF", len=27),
    "ICMPv6": packets.ip6(ICMPv6EchoRequest(data=bytes(64)), extensions=(IPv6ExtHdrFragment(m=1),)),
    "ESP in IPv6": ipv6_first(bytes(64), 50),
    "too short for UDP in IPv6": ipv6_first(bytes(7), 17),
    "too short for TCP in IPv6": ipv6_first(bytes(19), 6),
}


@pytest.mark.parametrize("frame", STRANGE.values(), ids=STRANGE)
def test_strange_fragments_go_up(lb, frame):
    """Other protocols, and first fragments that do not hold their header: the kernel's."""
    for family in (IPV4, IPV6):
        lb.add_service(family.endpoint, reals=[family.a], udp=True)
        lb.add_service(family.endpoint, reals=[family.a])

    goes_up(lb, frame)


@pytest.mark.parametrize("before", [(), (IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt())])
@pytest.mark.parametrize("behind", [(), (IPv6ExtHdrDestOpt(),)])
def test_other_extensions_may_stand_around(lb, before, behind):
    """Before the fragment's header, of each piece; behind it, of the whole (RFC 8200 §4.5)."""
    lb.add_service(IPV6.endpoint, reals=[IPV6.a], udp=True)

    for piece in fragments6(before=before, behind=behind):
        wrapped(lb, piece, IPV6.a)


@pytest.mark.parametrize("extensions", [(), (IPv6ExtHdrHopByHop(),)])
@pytest.mark.parametrize("make", [packets.syn, packets.udp])
def test_an_atomic_fragment_is_whole(lb, make, extensions):
    """A fragment's header on what is no fragment makes no difference (RFC 6946)."""
    for udp in (False, True):
        lb.add_service(IPV6.endpoint, reals=[IPV6.b, IPV6.a], scheduler="rr", udp=udp)
    frame = make(network=packets.ip6, extensions=(*extensions, IPv6ExtHdrFragment(id=7)))

    wrapped(lb, frame, IPV6.a)
    wrapped(lb, make(network=packets.ip6), IPV6.a)
    assert {"forwarded": 2} == lb.counted
    goes_up(lb, fragments6(id=7)[1])  # nobody follows it


def test_hop_limit_is_spent(served, family):
    """The last hop is not sent on."""
    limit = {"ttl": 1} if family is IPV4 else {"hlim": 1}

    goes_up(served, family.cut(**limit)[0], "ttl")


def test_malformed_fragments_are_dropped(served, family):
    """As whatever contradicts itself."""
    assert XDP_DROP == served.send(family.cut()[1][:-1])[0]
    assert {"drop_length": 1} == served.counted


def test_too_big_fragments_go_up_all_of_them(lb):
    """A first one that does not fit the tunnel goes up, and no later one without it."""
    lb.add_service(reals=[IPV4.a], udp=True)
    first, *rest = fragments(1500)

    goes_up(lb, first, "too_big")
    for piece in rest:
        goes_up(lb, piece)


def test_too_big_first_fragments_are_answered(served, family):
    """IPv6's, and IPv4's with DF; about later ones nothing is said (RFC 1122 §3.2.2)."""
    flags = {"flags": "DF"} if family is IPV4 else {}
    first, second, *_ = family.cut(1500, **flags)
    answer = packets.too_big(first, 1480) if family is IPV4 else packets.too_big6(first, 1500 - 40)

    assert (XDP_TX, answer) == served.send(first)
    served.send(family.cut(1000)[0])
    served.counted  # noqa: B018
    goes_up(served, second, "too_big")


def test_limits_count_first_fragments(lb, family):
    """What begins a flow is limited; its other pieces are not, and go where it went."""
    lb.add_service(family.endpoint, reals=[family.a], udp=True, limit=1)
    for port, number in ((1, 1), (2, 2)):
        transport = UDP(sport=port, dport=packets.DPORT)
        for piece in family.cut(600, transport, id=number):
            lb.send(piece)

    pieces = len(family.cut(600))
    assert {"forwarded": pieces, "drop_limited": 1, "pass_fragment": pieces - 1} == lb.counted


def test_denied_sources_are_dropped(served, family):
    """The deny list is asked of each."""
    first, second, *_ = family.cut()
    wrapped(served, first, family.a)
    served.director.deny([parse_prefix(family.cip)])

    assert XDP_DROP == served.send(second)[0]
    assert {"forwarded": 1, "drop_denied": 1} == served.counted


def test_removed_reals_get_nothing(served, family):
    """The rest of a packet whose real was removed goes up; nor is it another service's."""
    first, second, *_ = family.cut()
    wrapped(served, first, family.a)
    place = served.index(family.a)
    served.remove_real(family.a)
    served.counted  # noqa: B018
    goes_up(served, second)

    with served.rewriting_state() as state:
        state.allocated.next_real = place
    served.add_service(family.other, reals=[family.a], udp=True)

    assert place == served.index(family.a)
    goes_up(served, second)


@pytest.mark.parametrize("checksum", [False, True])
def test_fragments_in_gre(lb, family, checksum):
    """UDP's checksum is over the whole datagram: of a piece nothing is known, so GRE has none."""
    tunnel = f"gre{'+csum' if checksum else ''}"
    lb.add_service(family.endpoint, reals=[f"{family.a} tunnel={tunnel}"], udp=True)

    for piece in family.cut():
        action, out = lb.send(piece)
        assert (XDP_TX, packets.gre(piece, dst=family.a, id=packets.outer_id(out))) == (action, out)


@pytest.mark.parametrize("check", [False, True])
def test_fragments_in_gue_take_one_way(lb, family, check):
    """All have one source port, which no port of the datagram has a part in; no checksum."""
    tunnel = f"gue:6080{'+csum' if check else ''}"
    lb.add_service(family.endpoint, reals=[f"{family.a} tunnel={tunnel}"], udp=True)
    sport, _ = packets.outer_ports(lb.send(family.cut()[0])[1])

    for piece in family.cut():
        action, out = lb.send(piece)
        sent = packets.gue(piece, dst=family.a, sport=sport, id=packets.outer_id(out))
        assert (XDP_TX, sent) == (action, out)


def test_fragments_have_one_outer_source(lb, family):
    """Of a prefix of them, too: by the client alone."""
    prefix = parse_prefix("10.9.0.0/16" if family is IPV4 else "fd00::/96")
    lb.add_service(family.endpoint, reals=[family.a], udp=True, source_cidr=prefix)

    sources = {packets.outer_src(lb.send(piece)[1]) for piece in family.cut(400)}

    assert 1 == len(sources)
    assert parse_prefix(sources.pop()).subnet_of(prefix)


def test_the_table_is_bounded(balancers, family):
    """Of more packets in pieces than it holds, the newest are remembered."""
    with balancers(replace(SMALL, fragment_buckets=2)).test() as lb:
        lb.add_service(family.endpoint, reals=[family.a], udp=True)
        for number in range(200):
            lb.send(family.cut(id=number)[0])
            lb.send(family.cut(id=number)[1])
            assert {"forwarded": 2} == lb.counted
            if number % 20 == 0:
                lb.pass_ticks(1)
        assert 16 == (lb.tables.fragments.entries * 8)
