# SPDX-License-Identifier: MIT
"""Real servers of IPv6, and of both families. What needs the kernel's tunnels is in tests/vm."""

import json

import pytest

from xdplb.model.address import parse_address
from xdplb.realserver import setup
from xdplb.realserver.setup import Decap

pytestmark = pytest.mark.root

VIP, VIP6, OTHER6 = map(parse_address, ("192.168.2.100", "2001:db8:2::100", "2001:db8:2::101"))
DIP, DIP6 = parse_address("192.168.2.200"), parse_address("2001:db8:2::200")
XDP = Decap.XDP


@pytest.fixture
def dual(real):
    """A real server to be, with an address and a default route of each family."""
    real.run(
        "for d in all default lo eth0 peer0; do echo 0 >/proc/sys/net/ipv6/conf/$d/disable_ipv6; "
        "echo 0 >/proc/sys/net/ipv6/conf/$d/accept_ra; done; "
        "ip address add 2001:db8:2::220/64 dev eth0 nodad; ip route add default via 2001:db8:2::1"
    )
    return real


def addresses(real) -> dict[str, dict]:
    """Those of IPv6 on lo."""
    [link] = json.loads(real.run("ip -json -6 address show dev lo"))
    return {each["local"]: each for each in link["addr_info"]}


def names(facts) -> list[str]:
    """Of facts, all of which are right."""
    assert [fact for fact in facts if not fact.ok] == []
    return [fact.name for fact in facts]


def rules(real) -> str:
    """Our table, without counters."""
    return real.run("nft -sp list table inet xdplb_realserver")


def test_setup_of_an_ipv6_vip_touches_nothing_of_ipv4(dual):
    """The VIP is on lo, deprecated; full segments have room for two IPv6 headers."""
    before = dual.run("grep . /proc/sys/net/ipv4/conf/*/*")

    facts = setup.setup(dual.host, [VIP6], [DIP6], decap=XDP)

    expected = ["program eth0", f"vip {VIP6}", f"mss {VIP6}", "protocol 41"]
    assert [*expected, "vips eth0", "directors eth0"] == names(facts)
    assert [str(VIP6), str(DIP6)] == [fact.found for fact in facts[-2:]]
    vip = addresses(dual)[str(VIP6)]
    assert (128, True) == (vip["prefixlen"], vip["deprecated"])
    assert not vip.get("tentative")
    assert before == dual.run("grep . /proc/sys/net/ipv4/conf/*/*")
    table = rules(dual)
    assert f"ip6 saddr {VIP6} tcp flags syn / syn,rst tcp option maxseg size set 1400" in table
    assert f"meta l4proto 41 ip6 saddr != {DIP6} counter drop" in table
    assert "ip saddr" not in table


@pytest.mark.parametrize(
    ("vips", "directors", "sizes"),
    [
        ([VIP, VIP6], [DIP, DIP6], {VIP: 1420, VIP6: 1400}),
        ([VIP, VIP6], [DIP], {VIP: 1440, VIP6: 1420}),
        ([VIP, VIP6], [], {VIP: 1440, VIP6: 1400}),
        ([VIP], [DIP6], {VIP: 1420}),
    ],
)
def test_segments_have_room_for_what_the_directors_send(dual, vips, directors, sizes):
    """The outer header is of the directors' family, without any of the VIP's; and of the larger."""
    names(setup.setup(dual.host, vips, directors, decap=XDP))

    found = {
        vip: int(line.split()[-1])
        for vip in vips
        for line in rules(dual).splitlines()
        if f"saddr {vip} tcp" in line
    }
    assert sizes == found


def test_only_tunnels_that_are_used_are_filtered(dual):
    """A 6in4 tunnel of somebody else's goes on, where no director sends such."""
    names(setup.setup(dual.host, [VIP, VIP6], [DIP6], decap=XDP))

    found = [line.strip() for line in rules(dual).splitlines() if "drop" in line]
    assert [f"meta l4proto {n} ip6 saddr != {DIP6} counter drop" for n in (4, 41)] == found


@pytest.mark.parametrize(
    ("fault", "fact"),
    [
        (f"ip address del {VIP6}/128 dev lo", f"vip {VIP6}"),
        (f"ip address add {VIP6}/128 dev eth0 nodad", f"vip {VIP6}"),
        ("nft delete table inet xdplb_realserver", f"mss {VIP6}"),
        ("ip link set eth0 mtu 1400", f"mss {VIP6}"),
    ],
)
def test_faults_have_names(dual, fault, fact):
    """What somebody changed is found."""
    setup.setup(dual.host, [VIP6], decap=XDP)
    dual.run(fault)

    assert {fact} == dual.wrong(VIP6)


def test_vips_come_and_go_and_leave_no_trace(dual):
    """One VIP is taken back by itself; the last one takes everything with it."""
    before = dual.everything(), addresses(dual)

    setup.setup(dual.host, [VIP, VIP6], [DIP6], decap=XDP)
    setup.setup(dual.host, [OTHER6], decap=XDP)
    setup.teardown(dual.host, [VIP6])
    between = {str(OTHER6), "::1"}, str(VIP6) in rules(dual), dual.wrong(VIP, OTHER6)

    assert between == (addresses(dual).keys(), False, set())
    setup.teardown(dual.host)
    assert before == (dual.everything(), addresses(dual))
