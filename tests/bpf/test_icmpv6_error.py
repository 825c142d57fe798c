# SPDX-License-Identifier: MIT
"""ICMPv6 errors that routers send to a VIP about what a real answered go to that real.

What is the same as of IPv4 is in test_icmp_error.py; the fuzzer compares both.
"""

import packets
import pytest
from balancer import XDP_DROP, XDP_PASS, XDP_TX
from packets import CIP6, RIP6, VIP6, answer6, icmp6_error, ip6
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.packet import Raw

pytestmark = pytest.mark.root

ENDPOINT = f"[{VIP6}]:80"
A, B = RIP6, "2001:db8:9::8"
SEGMENT = TCP(sport=packets.DPORT, dport=packets.SPORT, flags="A") / Raw(bytes(64))
DATAGRAM = UDP(sport=packets.DPORT, dport=packets.SPORT) / Raw(bytes(64))
ERRORS = {
    "too big": ICMPv6PacketTooBig(mtu=1280),
    "no route": ICMPv6DestUnreach(code=0),
    "port unreachable": ICMPv6DestUnreach(code=4),
    "hop limit exceeded": ICMPv6TimeExceeded(code=0),
    "not reassembled": ICMPv6TimeExceeded(code=1),
    "parameter problem": ICMPv6ParamProblem(code=1, ptr=6),
}


def wrapped(lb, frame, real):
    """Assert that the frame goes to this real, wrapped, otherwise unchanged."""
    assert (XDP_TX, packets.ipip(frame, real)) == lb.send(frame)


def goes_up(lb, frame):
    """Assert that the frame passes unchanged, counted as ICMP."""
    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_icmp": 1} == lb.counted


def errors_to(client, sport):
    """A router's ICMP error about a segment to this client."""
    return icmp6_error(answer6(TCP(sport=packets.DPORT, dport=sport), dst=client))


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("udp", [False, True], ids=["TCP", "UDP"])
def test_error_follows_the_flow(lb, error, udp):
    """An error about a recorded flow is sent to its real, in the tunnel, otherwise untouched."""
    lb.add_service(ENDPOINT, reals=[A, B], scheduler="rr", udp=udp)
    first = packets.udp if udp else packets.syn
    real = [lb.real_of(first(network=ip6, sport=port)) for port in (1, packets.SPORT)][1]
    assert A == real
    lb.counted  # noqa: B018
    flows = lb.flows

    wrapped(lb, icmp6_error(answer6(DATAGRAM if udp else SEGMENT), error=error), real)

    assert {"forwarded": 1} == lb.counted
    assert (1, flows) == (lb.stats(A)["flows"], lb.flows)


@pytest.mark.parametrize("flags", [[], ["mh-port"], ["mh-port", "mh-fallback"]], ids="-".join)
def test_error_finds_the_clients_slot(lb, flags):
    """Without records, the error goes where the client's packets go, by the hash of client and
    port.
    """
    reals = [A, B, "2001:db8:9::9", "2001:db8:a3::7"]
    lb.add_service(ENDPOINT, reals=reals, flags=flags)
    lb.set_weight(B, 0)
    lb.end_transitions()
    clients = [(f"2001:db8:{n:x}::{n * n:x}", 1000 * n) for n in range(1, 40)]
    ack = packets.ack(network=ip6)

    sent = [lb.real_of(errors_to(*client)) for client in clients]

    assert sent == [lb.real_of(packets.from_client(ack, *client)) for client in clients]
    assert len(set(sent)) > 2


@pytest.mark.parametrize("transport", [SEGMENT, DATAGRAM])
def test_cut_answers_are_followed(lb, transport):
    """If the real's answer was fragmented, the error quotes a first fragment with its header and
    ports.
    """
    for udp in (False, True):
        lb.add_service(ENDPOINT, reals=[A], udp=udp)

    wrapped(lb, icmp6_error(answer6(IPv6ExtHdrFragment(m=1, id=7) / transport)), A)


@pytest.mark.parametrize("extensions", [(IPv6ExtHdrHopByHop(),), (IPv6ExtHdrDestOpt(),) * 4])
def test_errors_own_extensions_are_carried(lb, extensions):
    """The error's own packet may have extension headers."""
    lb.add_service(ENDPOINT, reals=[A])

    wrapped(lb, icmp6_error(answer6(), extensions=extensions), A)


STRANGE = {
    "echo": icmp6_error(answer6(), error=ICMPv6EchoRequest()),
    "echo reply": icmp6_error(answer6(), error=ICMPv6EchoReply()),
    "quoted options": icmp6_error(answer6(IPv6ExtHdrDestOpt() / SEGMENT)),
    "a quoted later fragment": icmp6_error(answer6(IPv6ExtHdrFragment(offset=9) / SEGMENT)),
    "quoted from another VIP": icmp6_error(answer6(src="2001:db8:80::81")),
    "the client's own packet quoted": icmp6_error(answer6(src=CIP6, dst=VIP6)),
    "quoted ICMP": icmp6_error(answer6(ICMPv6EchoReply())),
    "quoted version 4": icmp6_error(answer6(version=4)),
    "an unknown flow's": icmp6_error(answer6(TCP(sport=81, dport=9))),
    **{f"{n} bytes quoted": icmp6_error(answer6(), quote=n) for n in (0, 39, 40, 44, 47)},
    **{
        f"{n} bytes of a fragment": icmp6_error(answer6(IPv6ExtHdrFragment(m=1) / SEGMENT), quote=n)
        for n in (48, 52, 55)
    },
}


@pytest.mark.parametrize("frame", STRANGE.values(), ids=STRANGE)
def test_strange_quotes_go_up(lb, frame):
    """An error passes if it does not quote a flow's ports where they are expected."""
    lb.add_service(ENDPOINT, reals=[A])
    lb.add_service("[2001:db8:80::81]:80", reals=[A])

    goes_up(lb, frame)


def test_what_contradicts_itself_is_dropped(lb):
    """An error whose length is more than came is dropped. Neighbour discovery is not checked."""
    lb.add_service(ENDPOINT, reals=[A])

    assert XDP_DROP == lb.send(icmp6_error(answer6())[:-1])[0]
    assert {"drop_length": 1} == lb.counted


def test_no_error_about_an_error(lb):
    """An error that is too big for the tunnel passes (RFC 4443 §2.4)."""
    lb.ip("route add 2001:db8:97::1 via 2001:db8:2::1 mtu lock 1300", "route del 2001:db8:97::1")
    lb.add_service(ENDPOINT, reals=["2001:db8:97::1"])
    frame = icmp6_error(bytes(answer6()) + bytes(1300), quote=1245)

    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_too_big": 1} == lb.counted


@pytest.mark.parametrize("quote", [100, 101])
@pytest.mark.parametrize("real", [A, "192.168.0.7"], ids=["6in6", "6in4"])
def test_errors_in_gre_and_gue(lb, real, quote):
    """The tunnel's checksum covers the error; GUE's source port is the flow's own."""
    frame = icmp6_error(answer6(), quote=quote)
    out = {}
    for tunnel in ("gre+csum", "gue:6080+csum"):
        lb.add_service(ENDPOINT, reals=[f"{real} tunnel={tunnel}"])
        out[tunnel[:3]] = lb.send(frame)
        sport, _ = packets.outer_ports(lb.send(packets.ack(network=ip6))[1])
        lb.remove_service()
    ids = {name: packets.outer_id(sent) for name, (_, sent) in out.items()}

    assert {
        "gre": (XDP_TX, packets.gre(frame, checksum=True, dst=real, id=ids["gre"])),
        "gue": (XDP_TX, packets.gue(frame, sport=sport, check=True, dst=real, id=ids["gue"])),
    } == out
