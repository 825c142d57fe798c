# SPDX-License-Identifier: MIT
"""Packets that come in fragments: all of them reach one real, each in a tunnel of its own."""

import packets
import pytest
from balancer import SMALL, XDP_DROP, XDP_PASS, XDP_TX
from packets import fragments, udp
from scapy.layers.inet import TCP
from scapy.packet import Raw

from xdplb.net import parse_prefix

pytestmark = pytest.mark.root

A, B = "192.168.0.7", "192.168.0.8"
LIFE = 30  # ticks: bpf/fragment.h


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


@pytest.fixture
def served(lb):
    """A service of UDP that takes turns: A, B, A, …"""
    lb.add_service(reals=[B, A], udp=True, scheduler="rr")
    return lb


@pytest.mark.parametrize("size", [200, 1400])
def test_fragments_follow_the_first(served, size):
    """Each leaves in a tunnel of its own, otherwise untouched, for the first one's real."""
    pieces = fragments(size)

    for piece in pieces:
        wrapped(served, piece, A)

    assert {"forwarded": len(pieces)} == served.counted
    sent = sum(len(piece) - 14 for piece in pieces)
    assert {"packets": len(pieces), "bytes": sent, "flows": 1} == served.stats(A)


def test_first_fragment_is_its_flows(served):
    """A first fragment follows its flow's record, and begins it, as a whole packet does."""
    wrapped(served, udp(), A)
    wrapped(served, udp(sport=9), B)
    first, *rest = fragments()

    for piece in (first, *reversed(rest)):
        wrapped(served, piece, A)

    assert 1 == served.stats(A)["flows"]


@pytest.mark.parametrize("scheduler", ["mh", "sh", "wrr"])
def test_every_scheduler(lb, scheduler):
    """Whatever chose the real, the rest follow it."""
    lb.add_service(reals=[A, B], udp=True, scheduler=scheduler)
    real = lb.real_of(udp())

    for piece in fragments():
        wrapped(lb, piece, real)


def test_one_packet_services_keep_a_datagram_together(lb):
    """Each datagram is balanced by itself, but not each of its pieces."""
    lb.add_service(reals=[B, A], udp=True, scheduler="rr", one_packet=True)

    for number, real in enumerate((A, B, A)):
        for piece in fragments(id=number):
            wrapped(lb, piece, real)


@pytest.mark.parametrize("flags", ["S", "PA"])
def test_segments_in_fragments(lb, flags):
    """TCP's too."""
    lb.add_service(reals=[A, B])
    real = lb.real_of(packets.ack())

    for piece in fragments(600, segment(flags)):
        wrapped(lb, piece, real)


def test_no_piece_of_midstream_without_flow(lb):
    """A first fragment that goes up has the others go up."""
    lb.add_service(reals=[A, B], scheduler="rr")
    first, *rest = fragments(600, segment("A"))

    goes_up(lb, first, "no_flow")
    for piece in rest:
        goes_up(lb, piece)


def test_before_the_first_they_go_up(served):
    """A piece whose first has not come goes up, rather than astray."""
    first, *rest = fragments()

    for piece in rest:
        goes_up(served, piece)
    wrapped(served, first, A)
    wrapped(served, rest[0], A)


@pytest.mark.parametrize(
    "other", [{"src": "192.168.1.201"}, {"id": 78}, {"proto": 6}, {"dst": "10.0.0.81"}]
)
def test_fragments_of_another_packet_go_up(served, other):
    """Source, VIP, protocol and ID tell packets apart (RFC 791 §3.2)."""
    served.add_service("10.0.0.81:80", reals=[A], udp=True)
    served.send(fragments()[0])
    served.counted  # noqa: B018

    goes_up(served, fragments(**other)[1])


def test_a_first_fragment_is_remembered_for_a_while(served):
    """As long as a host would wait for the rest."""
    first, second, *_ = fragments()
    wrapped(served, first, A)

    served.pass_ticks(LIFE - 1)
    wrapped(served, second, A)
    served.pass_ticks(1)
    served.counted  # noqa: B018

    goes_up(served, second)


def test_newest_first_fragment_counts(lb):
    """An ID that is used again: the rest go where the newest first one went."""
    lb.add_service(reals=[B, A], udp=True, scheduler="rr", one_packet=True)
    first, second, *_ = fragments()

    for real in (A, B, A):
        wrapped(lb, first, real)
        wrapped(lb, second, real)


def test_fragments_keep_tags_and_padding(served):
    """As any frame."""
    for piece in fragments():
        tagged = piece[:12] + b"\x81\x00\x00\x05" + piece[12:] + bytes(5)

        wrapped(served, tagged, A)


def test_fragments_of_what_is_no_service_go_up(served):
    """The first under its own reason, the rest as fragments."""
    first, second, *_ = fragments(600, segment("S"))

    goes_up(served, first, "no_service")
    goes_up(served, second)


STRANGE = {
    "ICMP": packets.ip(packets.ICMP() / Raw(bytes(64)), ip_flags="MF"),
    "later ICMP": packets.ip(Raw(bytes(64)), proto=1, frag=8),
    "ESP": packets.ip(Raw(bytes(64)), proto=50, ip_flags="MF"),
    "too short for UDP": packets.ip(Raw(bytes(7)), proto=17, ip_flags="MF"),
    "too short for TCP": packets.ip(Raw(bytes(19)), proto=6, ip_flags="MF"),
    "too short by its length": packets.ip(Raw(bytes(40)), proto=17, ip_flags="MF", len=27),
}


@pytest.mark.parametrize("frame", STRANGE.values(), ids=STRANGE)
def test_strange_fragments_go_up(served, frame):
    """Other protocols, and first fragments that do not hold their header: the kernel's."""
    served.add_service(reals=[A])

    goes_up(served, frame)


def test_ttl_is_spent(served):
    """TTL 1 is not sent on."""
    goes_up(served, fragments(ttl=1)[0], "ttl")


def test_malformed_fragments_are_dropped(served):
    """As whatever contradicts itself."""
    frame = packets.ip(Raw(bytes(40)), proto=17, ip_flags="MF", len=90)

    assert XDP_DROP == served.send(frame)[0]
    assert {"drop_length": 1} == served.counted


def test_too_big_fragments_go_up_all_of_them(served):
    """A first one that does not fit the tunnel goes up, and no later one without it."""
    first, *rest = fragments(1500)

    goes_up(served, first, "too_big")
    for piece in rest:
        goes_up(served, piece)


def test_too_big_first_fragments_with_df_are_answered(served):
    """The answer quotes the first one; about later ones there is none (RFC 1122 §3.2.2)."""
    first, second, *_ = fragments(1500, flags="DF")

    assert (XDP_TX, packets.too_big(first, 1480)) == served.send(first)
    served.send(fragments(1000)[0])
    served.counted  # noqa: B018
    goes_up(served, second, "too_big")


def test_limits_count_first_fragments(lb):
    """What begins a flow is limited; its other pieces are not, and go where it went."""
    lb.add_service(reals=[A], udp=True, limit=1)
    for port, number in ((1, 1), (2, 2)):
        transport = packets.UDP(sport=port, dport=packets.DPORT)
        for piece in fragments(600, transport, id=number):
            lb.send(piece)

    pieces = len(fragments(600))
    assert {"forwarded": pieces, "drop_limited": 1, "pass_fragment": pieces - 1} == lb.counted


def test_denied_sources_are_dropped(served):
    """The deny list is asked of each."""
    first, second, *_ = fragments()
    wrapped(served, first, A)
    served.director.deny([parse_prefix(packets.CIP)])

    assert XDP_DROP == served.send(second)[0]
    assert {"forwarded": 1, "drop_denied": 1} == served.counted


def test_removed_reals_get_nothing(served):
    """The rest of a packet whose real was removed goes up; nor is it another service's."""
    first, second, *_ = fragments()
    wrapped(served, first, A)
    place = served.index(A)
    served.remove_real(A)
    served.counted  # noqa: B018
    goes_up(served, second)

    with served.rewriting_state() as state:
        state.raw["next_real"] = place
    served.add_service("10.0.0.81:80", reals=[A], udp=True)

    assert place == served.index(A)
    goes_up(served, second)


@pytest.mark.parametrize("checksum", [False, True])
def test_fragments_in_gre(lb, checksum):
    """UDP's checksum is over the whole datagram: of a piece nothing is known, so GRE has none."""
    lb.add_service(reals=[f"{A} tunnel=gre{'+csum' if checksum else ''}"], udp=True)

    for piece in fragments():
        action, out = lb.send(piece)
        assert (XDP_TX, packets.gre(piece, dst=A, id=packets.outer_id(out))) == (action, out)


@pytest.mark.parametrize("check", [False, True])
def test_fragments_in_gue_take_one_way(lb, check):
    """All have one source port, which no port of the datagram has a part in; no checksum."""
    lb.add_service(reals=[f"{A} tunnel=gue:6080{'+csum' if check else ''}"], udp=True)
    sport, _ = packets.outer_ports(lb.send(fragments()[0])[1])

    for piece in fragments():
        action, out = lb.send(piece)
        number = packets.outer_id(out)
        assert (XDP_TX, packets.gue(piece, sport=sport, id=number)) == (action, out)


def test_the_table_is_bounded(balancers):
    """Of more packets in pieces than it holds, the newest are remembered."""
    from dataclasses import replace

    with balancers(replace(SMALL, fragment_buckets=2)).test() as lb:
        lb.add_service(reals=[A], udp=True)
        for number in range(200):
            lb.send(fragments(id=number)[0])
            lb.send(fragments(id=number)[1])
            assert {"forwarded": 2} == lb.counted
            if number % 20 == 0:
                lb.pass_ticks(1)
        assert 16 == (lb.tables.fragments.entries * 8)
