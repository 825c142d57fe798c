# SPDX-License-Identifier: MIT
"""Which service a packet belongs to: by VIP, port and protocol."""

import packets
import pytest
from balancer import XDP_DROP, XDP_PASS

pytestmark = pytest.mark.root

A, B, C, D = (f"192.168.0.{n}" for n in range(7, 11))


def test_services_are_told_apart_by_port(lb):
    """Each port of a VIP has its own service."""
    lb.add_service("10.0.0.80:80", reals=[A])
    lb.add_service("10.0.0.80:443", reals=[B])

    assert A == lb.real_of(packets.syn(dport=80))
    assert B == lb.real_of(packets.syn(dport=443))
    assert {"forwarded": 2} == lb.counted


def test_services_are_told_apart_by_protocol(lb):
    """TCP and UDP of one port are two services."""
    lb.add_service(reals=[A])
    lb.add_service(reals=[B], udp=True)

    assert (A, B) == (lb.real_of(packets.syn()), lb.real_of(packets.udp()))


def test_services_are_told_apart_by_vip(lb):
    """The same port of two VIPs is two services."""
    lb.add_service("10.0.0.80:80", reals=[A])
    lb.add_service("10.0.0.81:80", reals=[B])

    assert A == lb.real_of(packets.syn(dst="10.0.0.80"))
    assert B == lb.real_of(packets.syn(dst="10.0.0.81"))


def test_byte_order_of_ports_is_minded(lb):
    """Port 0x5000 is not port 0x0050."""
    lb.add_service("10.0.0.80:80", reals=[A])
    frame = packets.syn(dport=0x5000)

    assert (XDP_PASS, frame) == lb.send(frame)
    assert {"pass_no_service": 1} == lb.counted


@pytest.mark.parametrize("port", [1, 80, 443, 65535])
def test_any_port_service_takes_every_port(lb, port):
    """A service on port 0 gets what no other service of its VIP and protocol gets."""
    lb.add_service("10.0.0.80:0", reals=[A])

    assert A == lb.real_of(packets.syn(dport=port))


def test_own_port_goes_before_any_port(lb):
    """A port's own service is asked first."""
    lb.add_service("10.0.0.80:0", reals=[A])
    lb.add_service("10.0.0.80:443", reals=[B])

    assert [A, B, A] == [lb.real_of(packets.syn(dport=port)) for port in (80, 443, 444)]


def test_any_port_is_of_one_protocol(lb):
    """An any-port service of TCP takes no UDP."""
    lb.add_service("10.0.0.80:0", reals=[A])

    assert XDP_PASS == lb.send(packets.udp())[0]
    assert {"pass_no_service": 1} == lb.counted


def test_any_port_tells_flows_apart_by_port(lb):
    """With recorded flows, two service ports from one client port are two flows."""
    lb.add_service("10.0.0.80:0", reals=[A, B], scheduler="rr")

    first, second = (lb.real_of(packets.syn(dport=port)) for port in (80, 81))

    assert {A, B} == {first, second}
    assert [first, second] == [lb.real_of(packets.ack(dport=port)) for port in (80, 81)]


def test_any_port_of_mh_sends_a_client_to_one_real(lb):
    """All ports of a client reach the same real: this is what any-port services are for (FTP)."""
    lb.add_service("10.0.0.80:0", reals=[A, B, C, D])

    assert 1 == len({lb.real_of(packets.syn(sport=port, dport=port)) for port in range(1000, 1100)})


def test_attached_vip_without_service_passes(lb):
    """A packet to a VIP, but to no service of it, passes, with its own counter."""
    lb.attach_vip("10.0.0.80")
    syn = packets.syn()

    assert (XDP_PASS, syn) == lb.send(syn)
    assert {"pass_no_service": 1} == lb.counted


def test_service_without_reals_drops(lb):
    """A service without reals drops packets, with its own counter."""
    lb.add_service(reals=[])

    assert XDP_DROP == lb.send(packets.syn())[0]
    assert {"drop_no_real": 1} == lb.counted


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "mh", "sh"])
def test_first_real_is_served_at_once(lb, scheduler):
    """A service that got its first real forwards."""
    lb.add_service(reals=[], scheduler=scheduler)
    lb.add_real(A)

    assert A == lb.real_of(packets.syn())


def test_removed_service_passes_and_others_stay(lb):
    """Packets to a removed service pass; other services are not affected."""
    gone = lb.add_service("10.0.0.80:80", reals=[A])
    lb.add_service("10.0.0.80:443", reals=[B])

    lb.remove_service(gone)

    assert XDP_PASS == lb.send(packets.syn(dport=80))[0]
    assert {"pass_no_service": 1} == lb.counted
    assert B == lb.real_of(packets.syn(dport=443))


def test_vip_goes_with_its_last_service(lb):
    """A VIP that was not attached is removed with its last service."""
    lb.remove_service(lb.add_service())

    assert XDP_PASS == lb.send(packets.syn())[0]
    assert {"pass_not_vip": 1} == lb.counted


@pytest.mark.parametrize("scheduler", ["rr", "mh"])
def test_removed_services_flows_are_nobodys(lb, scheduler):
    """A service that is added in a removed one's place has none of its flows or reals."""
    lb.remove_service(lb.add_service(reals=[A], scheduler=scheduler))
    lb.add_service(reals=[B], scheduler="rr")
    before = lb.establish()
    lb.remove_service()
    lb.counted  # noqa: B018 (looks away from what was)

    lb.add_service(reals=[C], scheduler="rr")

    assert B == before
    assert XDP_PASS == lb.send(packets.ack())[0]
    assert {"pass_no_flow": 1} == lb.counted
    assert C == lb.establish()


def test_reals_of_one_address_belong_to_their_services(lb):
    """Two services with the same real count it separately."""
    web = lb.add_service("10.0.0.80:80", reals=[A])
    tls = lb.add_service("10.0.0.80:443", reals=[A])

    for port in (80, 443, 443):
        lb.send(packets.syn(dport=port))

    assert (1, 2) == (lb.stats(A, web)["packets"], lb.stats(A, tls)["packets"])


def test_editing_a_scheduler_takes_effect(lb):
    """From mh to rr: new flows go by turns."""
    lb.add_service(reals=[A, B])

    lb.edit_service(scheduler="rr")

    assert [B, A, B, A] == [lb.real_of(packets.syn(sport=port)) for port in range(4)]
