# SPDX-License-Identifier: MIT
"""ICMP errors that routers send to a VIP about what a real answered go to that real."""

import packets
import pytest
from balancer import ACK, SYN, XDP_DROP, XDP_PASS, XDP_TX
from packets import answer, icmp_error
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.packet import Raw

from xdplb.model.address import parse_prefix

pytestmark = pytest.mark.root

A, B, C = "192.168.0.7", "192.168.0.8", "192.168.0.9"
DATAGRAM = UDP(sport=packets.DPORT, dport=packets.SPORT) / Raw(bytes(64))
ERRORS = {
    "too big": ICMP(type=3, code=4, nexthopmtu=1400),
    "host unreachable": ICMP(type=3, code=1),
    "port unreachable": ICMP(type=3, code=3),
    "source quench": ICMP(type=4, code=0),
    "TTL exceeded": ICMP(type=11, code=0),
    "not reassembled": ICMP(type=11, code=1),
}
OTHERS = {
    "echo": ICMP(type=8),
    "echo reply": ICMP(type=0),
    "redirect": ICMP(type=5, code=1),
    "parameter problem": ICMP(type=12),
}


def wrapped(lb, frame, real):
    """Assert that the frame goes to this real, wrapped, otherwise unchanged."""
    action, out = lb.send(frame)
    assert (XDP_TX, packets.ipip(frame, real, id=packets.outer_id(out))) == (action, out)


def errors_to(client, sport):
    """A router's ICMP error about a segment to this client."""
    return icmp_error(answer(TCP(sport=packets.DPORT, dport=sport), dst=client))


def goes_up(lb, frame):
    """Assert that the frame passes unchanged, counted as ICMP."""
    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_icmp": 1} == lb.counted


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("udp", [False, True], ids=["TCP", "UDP"])
def test_error_follows_the_flow(lb, error, udp):
    """An error about a recorded flow is sent to its real, in the tunnel, otherwise untouched."""
    lb.add_service(reals=[A, B], scheduler="rr", udp=udp)
    for port in (1, 2, 3):
        lb.real_of(packets.udp(sport=port) if udp else packets.syn(sport=port))
    first = packets.udp() if udp else SYN
    real = lb.real_of(first)
    assert A == real
    lb.counted  # noqa: B018

    wrapped(lb, icmp_error(answer(DATAGRAM if udp else None), error=error), real)

    assert {"forwarded": 1} == lb.counted


@pytest.mark.parametrize("error", OTHERS.values(), ids=OTHERS)
def test_other_icmp_goes_up(lb, error):
    """Other ICMP passes, whatever it quotes."""
    lb.add_service()

    goes_up(lb, icmp_error(answer(), error=error))


@pytest.mark.parametrize("scheduler", ["mh", "sh"])
@pytest.mark.parametrize("flags", [[], ["port"], ["port", "fallback"]], ids="-".join)
def test_error_finds_the_clients_slot(lb, scheduler, flags):
    """Without records, the error goes where the client's packets go, by the hash of client and
    port.
    """
    reals = [A, B, C, "10.3.0.7"]
    flags = [f"{scheduler}-{flag}" for flag in flags]
    lb.add_service(reals=reals, scheduler=scheduler, flags=flags)
    lb.set_weight(B, 0)
    lb.end_transitions()
    clients = [(f"10.{n}.7.{n}", 1000 * n) for n in range(40)]

    sent = [lb.real_of(errors_to(*client)) for client in clients]

    assert not lb.flows
    assert sent == [lb.real_of(packets.from_client(ACK, *client)) for client in clients]
    assert len(set(sent)) > 2


def test_error_in_transition_follows_the_record(lb):
    """In a changed slot it follows the flow's record, or else goes to the slot's previous owner."""
    lb.add_service(reals=[A, B])
    old = lb.connect(60)
    lb.add_real(C)
    new = {client: lb.establish(*client) for client in list(old)[:20]}
    records = lb.flows

    for client, real in (old | new).items():
        assert real == lb.real_of(errors_to(*client))
    assert C in new.values()
    assert records == lb.flows


def test_error_leaves_no_trace(lb):
    """It begins no flow, keeps none alive, and takes no turn."""
    lb.add_service(reals=[A, B], scheduler="rr")
    assert B == lb.establish(sport=1)
    lb.pass_ticks(5)
    before = lb.words.copy()

    for port in (1, 2, 3):
        lb.send(errors_to(packets.CIP, port))

    assert {"forwarded": 3, "pass_icmp": 2} == lb.counted
    assert (before == lb.words).all()
    assert 1 == lb.stats(B)["flows"]
    assert A == lb.real_of(packets.syn(sport=4))


def test_error_does_not_close_a_flow(lb):
    """A new connection stays new: the error is not a packet of the client."""
    lb.add_service(reals=[A], scheduler="rr")
    lb.send(SYN)

    lb.send(icmp_error(answer()))

    assert [("NEW", A)] == lb.flows


def test_error_is_counted_as_the_reals(lb):
    """The real's figures get a packet and its bytes, but no flow, as in IPVS."""
    lb.add_service(reals=[A])

    lb.send(icmp_error(answer()))

    assert {"packets": 1, "bytes": 20 + 8 + 28, "flows": 0} == lb.stats(A)


def test_error_takes_no_part_in_limits(lb):
    """No limit counts it or refuses it."""
    lb.add_service(reals=[A], udp=True, scheduler="mh", limit=1)
    lb.send(packets.udp(sport=1))
    lb.send(packets.udp(sport=2))
    assert {"forwarded": 1, "drop_limited": 1} == lb.counted

    wrapped(lb, icmp_error(answer(DATAGRAM)), A)


def test_denied_router_is_dropped(lb):
    """The deny list is applied to the error's sender, not to the client it is about."""
    lb.add_service(reals=[A])
    error = icmp_error(answer())
    lb.director.deny([parse_prefix(packets.CIP)])
    wrapped(lb, error, A)

    lb.director.deny([parse_prefix(packets.ROUTER)])

    assert XDP_DROP == lb.send(error)[0]
    assert {"forwarded": 1, "drop_denied": 1} == lb.counted


@pytest.mark.parametrize("one", ["rr", "mh"])
def test_errors_of_one_packet_services(lb, one):
    """With turns, the real is not known, so the error passes. With a hash, the slot gives it."""
    lb.add_service(reals=[A, B], scheduler=one, udp=True, one_packet=True)
    error = icmp_error(answer(DATAGRAM))
    if one == "mh":
        assert lb.real_of(packets.udp()) == lb.real_of(error)
    else:
        goes_up(lb, error)
        assert B == lb.real_of(packets.udp())


@pytest.mark.parametrize("scheduler", ["rr", "mh"])
def test_errors_of_nobody_go_up(lb, scheduler):
    """An error passes if its flow is unknown (turns), or its service is, or its service has no
    reals.
    """
    lb.add_service("10.0.0.81:80", reals=[], scheduler=scheduler)
    goes_up(lb, icmp_error(answer(src="10.0.0.81"), dst="10.0.0.81"))
    lb.add_service(reals=[A], scheduler="rr")
    goes_up(lb, icmp_error(answer()))
    goes_up(lb, icmp_error(answer(DATAGRAM)))


STRANGE = {
    "quoted options": answer(options=b"\x01" * 4),
    "a quoted later fragment": answer(frag=185, flags="MF"),
    "quoted from another VIP": answer(src="10.0.0.81"),
    "the client's own packet quoted": answer(src=packets.CIP, dst=packets.VIP),
    "quoted ICMP": answer(ICMP() / Raw(b"ping")),
    "quoted version 6": answer(version=6),
    "quoted short header": answer(ihl=4),
}


@pytest.mark.parametrize("quoted", STRANGE.values(), ids=STRANGE)
def test_strange_quotes_go_up(lb, quoted):
    """An error passes if it does not quote a flow's ports where they are expected."""
    lb.add_service(reals=[A])
    lb.add_service("10.0.0.81:80", reals=[A])

    goes_up(lb, icmp_error(quoted))


@pytest.mark.parametrize("quote", [0, 19, 20, 24, 27])
@pytest.mark.parametrize("padding", [b"", bytes(40)])
def test_truncated_quotes_go_up(lb, quote, padding):
    """It must quote 8 bytes behind the header (RFC 792). Padding does not count as quoted."""
    lb.add_service(reals=[A])

    goes_up(lb, icmp_error(answer(), quote=quote, padding=padding))


def test_first_fragments_quoted_are_followed(lb):
    """A quoted first fragment has the ports, so the error follows the flow."""
    lb.add_service(reals=[A])

    wrapped(lb, icmp_error(answer(flags="MF")), A)


@pytest.mark.parametrize("options", [4, 40])
def test_errors_own_options_are_carried(lb, options):
    """The error's own IP header may have options."""
    lb.add_service(reals=[A])

    wrapped(lb, icmp_error(answer(), options=b"\x01" * options), A)


def test_tagged_errors(lb):
    """An error loses its VLAN tags, as any frame."""
    lb.add_service(reals=[A])

    wrapped(lb, icmp_error(answer(), tags=(packets.vlan(5),)), A)


def test_ttl_is_spent(lb):
    """An error with TTL 1 passes."""
    lb.add_service(reals=[A])
    frame = icmp_error(answer(), ttl=1)

    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_ttl": 1} == lb.counted


@pytest.mark.parametrize("ip_flags", ["", "DF"])
def test_no_error_about_an_error(lb, ip_flags):
    """An error that is too big for the tunnel passes, even with DF (RFC 1122 §3.2.2)."""
    lb.add_service(reals=[A])
    frame = icmp_error(answer(), quote=64, padding=b"", ip_flags=ip_flags)
    lb.ip("route add 10.7.0.0/24 via 192.168.2.1 mtu lock 100", undo="route del 10.7.0.0/24")
    lb.add_service("10.0.0.80:80", reals=["10.7.0.1"])

    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_too_big": 1} == lb.counted


@pytest.mark.parametrize("checksum", [False, True])
def test_errors_in_gre(lb, checksum):
    """GRE's checksum covers the error. (ICMP's own has no pseudo header.)"""
    lb.add_service(reals=[f"{A} tunnel=gre{'+csum' if checksum else ''}"])
    frame = icmp_error(answer(), ip_flags="DF")

    assert (XDP_TX, packets.gre(frame, checksum=checksum)) == lb.send(frame)


@pytest.mark.parametrize("check", [False, True])
def test_errors_in_gue_take_the_flows_port(lb, check):
    """The outer source port is the flow's, and UDP's checksum covers the error."""
    lb.add_service(reals=[f"{A} tunnel=gue:6080{'+csum' if check else ''}"])
    sport, _ = packets.outer_ports(lb.send(ACK)[1])
    frame = icmp_error(answer(), ip_flags="DF")

    assert (XDP_TX, packets.gue(frame, sport=sport, check=check)) == lb.send(frame)
