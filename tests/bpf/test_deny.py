# SPDX-License-Identifier: MIT
"""The deny list: whoever is on it gets nothing to a VIP, and everything past it."""

from dataclasses import replace

import packets
import pytest
from balancer import ACK, SYN, XDP_DROP, XDP_PASS, XDP_TX

from xdplb.errors import AlreadyExists, NotFound, TableFull
from xdplb.model.address import parse_prefix

pytestmark = pytest.mark.root

NEIGHBOUR = "192.168.1.201"  # packets.CIP is 192.168.1.200


def deny(lb, *prefixes):
    lb.director.deny(list(map(parse_prefix, prefixes)))


def admit(lb, *prefixes):
    lb.director.allow(list(map(parse_prefix, prefixes)))


def asks(lb):
    """Whether the program looks at the list at all."""
    return bool(lb.tables.director[0].config.denying)


FRAMES = {
    "SYN": SYN,
    "ACK": ACK,
    "datagram": packets.udp(),
    "ping": packets.icmp(),
    "fragment": packets.fragments()[1],
    "no service": packets.syn(dport=81),
    "malformed": packets.syn(ihl=4),
    "TTL used up": packets.syn(ttl=1),
    "tagged": packets.syn(tags=(packets.service_vlan(7), packets.vlan(5))),
}


@pytest.mark.parametrize("case", FRAMES)
def test_denied_source_gets_nothing_to_a_vip(lb, case):
    """Whatever it sends is dropped at the door."""
    lb.add_service()
    deny(lb, "192.168.1.0/24")

    assert XDP_DROP == lb.send(FRAMES[case])[0]
    assert {"drop_denied": 1} == lb.counted


@pytest.mark.parametrize("frame", [packets.syn(dst="10.0.0.81"), packets.arp(), packets.ipv6()])
def test_denied_source_passes_to_others(lb, frame):
    """What is for no VIP is none of our business, whoever sends it."""
    lb.add_service()
    deny(lb, "0.0.0.0/0")

    assert (XDP_PASS, frame) == lb.send(frame)
    assert not {"drop_denied"} & lb.counted.keys()


@pytest.mark.parametrize(
    ("prefix", "denied"),
    [
        ("192.168.1.200", True),
        ("192.168.1.201", False),
        ("192.168.1.200/31", True),
        ("192.168.1.192/28", True),
        ("192.168.1.208/28", False),
        ("192.0.0.0/8", True),
        ("128.0.0.0/1", True),
        ("0.0.0.0/1", False),
        ("0.0.0.0/0", True),
    ],
)
def test_prefixes_of_any_length(lb, prefix, denied):
    """A prefix denies the addresses that begin with it, and no others."""
    lb.add_service()
    deny(lb, prefix)

    lb.send(SYN)

    assert asks(lb)
    assert {"drop_denied" if denied else "forwarded": 1} == lb.counted


def test_who_is_not_denied_is_forwarded_as_ever(lb):
    """With a list that others are on, the frame that leaves is the same."""
    lb.add_service()
    deny(lb, NEIGHBOUR)

    assert (XDP_TX, packets.ipip(SYN)) == lb.send(SYN)
    assert XDP_DROP == lb.send(packets.from_client(SYN, NEIGHBOUR, 1))[0]
    assert {"forwarded": 1, "drop_denied": 1} == lb.counted


@pytest.mark.parametrize("scheduler", ["rr", "mh"])
def test_denying_stops_connections_and_admitting_lets_them_go_on(lb, scheduler):
    """Live: an established connection's packets stop, and reach the same real afterwards."""
    lb.add_service(reals=["192.168.0.7", "192.168.0.8"], scheduler=scheduler)
    real = lb.establish()

    deny(lb, packets.CIP)
    stopped = lb.follow()
    admit(lb, packets.CIP)

    assert (None, real) == (stopped, lb.follow())


def test_prefixes_are_apart(lb):
    """One in another: each is there by itself, and the outer one outlives the inner one."""
    lb.add_service()
    deny(lb, "192.168.0.0/16", "192.168.1.0/24")

    admit(lb, "192.168.1.0/24")
    still = lb.real_of(SYN)
    admit(lb, "192.168.0.0/16")

    assert (None, packets.RIP) == (still, lb.real_of(SYN))


def test_an_empty_list_is_not_asked(lb):
    """The last prefix that goes takes the question with it."""
    assert not asks(lb)
    deny(lb, "192.0.2.1", "192.0.2.2")
    admit(lb, "192.0.2.1")
    assert asks(lb)
    admit(lb, "192.0.2.2")
    assert not asks(lb)


def test_flush_keeps_the_list(lb):
    """Services go, who is denied stays denied."""
    lb.add_service()
    deny(lb, packets.CIP)

    lb.director.flush()
    lb.add_service()

    assert lb.real_of(SYN) is None


def test_a_change_that_fails_changes_nothing(lb):
    """Several prefixes of which one will not do: none comes, none goes."""
    lb.add_service()
    deny(lb, "192.0.2.1")

    with pytest.raises(AlreadyExists, match=r"192\.0\.2\.1/32 is denied already"):
        deny(lb, packets.CIP, "192.0.2.1")
    with pytest.raises(NotFound, match=r"192\.168\.1\.200/32 is not denied"):
        admit(lb, "192.0.2.1", packets.CIP)

    assert ["192.0.2.1/32"] == lb.state.wanted.denied
    assert packets.RIP == lb.real_of(SYN)
    assert asks(lb)


def test_a_list_can_be_full(lb):
    """As many as max_denied, also if they are put there once more, as `attach` does; no more."""
    with lb.rewriting_state() as state:
        state.wanted.tunables = replace(state.wanted.tunables, max_denied=2)
    deny(lb, "192.0.2.1", "192.0.2.2")

    with pytest.raises(TableFull, match=r"3 prefixes to deny are more than 2.*max_denied"):
        deny(lb, "192.0.2.3")


def test_the_trie_takes_what_it_has_though_it_is_full(lb):
    """Kernels up to 6.12 refuse that of a trie with no place left: there is one more."""
    first = parse_prefix("10.0.0.0")
    prefixes = [f"{first.network_address + n}/32" for n in range(lb.tunables.max_denied)]
    deny(lb, *prefixes)
    try:
        lb.tables.deny(first)
    finally:
        admit(lb, *prefixes)
