# SPDX-License-Identifier: MIT
"""What can be told of a real server is told, though something of it is gone."""

import pytest

from xdplb.errors import UsageError, XdplbError
from xdplb.model.address import parse_address
from xdplb.realserver import setup
from xdplb.realserver.setup import Decap

pytestmark = pytest.mark.root

VIP, OTHER_VIP = parse_address("192.168.2.100"), parse_address("192.168.2.101")
DIRECTOR, FAR = parse_address("192.168.2.200"), parse_address("10.9.9.9")


@pytest.fixture
def partly(real):
    """Set up for two directors, one of which is behind a route that is gone since."""
    setup.setup(real.host, [VIP, OTHER_VIP], [DIRECTOR, FAR], decap=Decap.XDP)
    assert set() == real.wrong()
    real.run("ip route delete default")
    return real


def test_a_director_without_a_route_is_one_wrong_row(partly):
    """It is named, with what to do; all other facts are there, and right."""
    facts = {fact.name: fact for fact in setup.check(partly.host)}

    assert {f"route {FAR}"} == {name for name, fact in facts.items() if not fact.ok}
    assert f"ip route add {FAR} via GATEWAY" in facts[f"route {FAR}"].mend
    assert {f"vip {VIP}", f"mss {VIP}", "program eth0", "directors eth0"} < set(facts)


def test_no_director_with_a_route(partly):
    """Each is named; what does not depend on the way is told."""
    partly.run("ip addr flush dev eth0")

    wrong = partly.wrong()

    assert {f"route {DIRECTOR}", f"route {FAR}"} <= wrong
    assert f"vip {VIP}" not in wrong


def test_setup_refuses_a_director_without_a_route(partly):
    """It could not tell by which interface that one's tunnels come; nothing is changed."""
    before = partly.everything()

    with pytest.raises(XdplbError, match=rf"no route to the director {FAR}; see: ip route get"):
        setup.setup(partly.host, [VIP])

    assert before == partly.everything()


def test_a_vip_goes_whatever_routes_there_are(partly):
    """Taking back one VIP needs no way to anybody; nor does taking back all."""
    setup.teardown(partly.host, [OTHER_VIP])
    assert str(OTHER_VIP) not in partly.run("ip addr; nft list ruleset")
    assert str(VIP) in partly.run("ip addr")

    setup.teardown(partly.host)
    assert str(VIP) not in partly.run("ip addr; nft list ruleset")


def test_an_interface_that_is_gone_is_one_wrong_row(real):
    """Named by --dev then, it is a fact; the other one's are there."""
    real.run("ip link add eth1 type veth peer name peer1; ip link set eth1 up")
    setup.setup(real.host, [VIP], devices=["eth0", "eth1"], decap=Decap.XDP)
    real.run("ip link delete eth1")

    facts = {fact.name: fact.ok for fact in setup.check(real.host)}

    assert {"interface eth1"} == {name for name, ok in facts.items() if not ok}
    assert "program eth0" in facts


def test_a_host_without_any_way(real):
    """Neither director nor default route: a fact of its own, beside the others."""
    real.run("ip route delete default")

    assert {"way in", f"vip {VIP}"} <= real.wrong()


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ([], rf"the VIP {OTHER_VIP} is not set up here; nothing is"),
        ([VIP], rf"the VIP {OTHER_VIP} is not set up here; these are: {VIP}"),
    ],
)
def test_teardown_of_an_unknown_vip(real, there, message):
    """It is named with what is set up, and nothing is changed, beside one that is known neither."""
    if there:
        setup.setup(real.host, there)
    before = real.everything()

    for vips in ([OTHER_VIP], [VIP, OTHER_VIP]):
        with pytest.raises(XdplbError, match="is not set up here"):
            setup.teardown(real.host, vips)
    with pytest.raises(XdplbError, match=message):
        setup.teardown(real.host, [OTHER_VIP])

    assert before == real.everything()


def test_a_teardown_that_was_killed_is_finished(real):
    """The last VIP is off, and forgotten, and the rest stands: named again, it goes on."""
    before = real.everything()
    setup.setup(real.host, [VIP], decap=Decap.XDP)
    state = "/run/xdplb/realserver/$(readlink /proc/self/ns/net | tr -cd 0-9).state"
    real.run(f"ip addr delete {VIP}/32 dev lo; sed -i '/^vip/d' {state}")

    setup.teardown(real.host, [VIP])

    assert before == real.everything()


def test_a_director_that_is_a_vip(real):
    """Named at once, or one after the other: nothing is changed."""
    with pytest.raises(UsageError, match=rf"director {VIP} is a VIP, too; name the director's own"):
        setup.setup(real.host, [VIP], [VIP])
    setup.setup(real.host, [VIP])
    before = real.everything()

    with pytest.raises(XdplbError, match=rf"the director {VIP} is a VIP, too; name the director's"):
        setup.setup(real.host, [OTHER_VIP], [VIP])

    assert before == real.everything()


def test_any_characters_in_others_rules(real):
    """A firewall's comment with a tab in it is one field of one fact."""
    real.run(
        "nft 'table inet f { chain c { type filter hook input priority 0;"
        ' ip protocol 4 drop comment "a\tb\u00e9"; }; }\''
    )

    facts = setup.check(real.host, [VIP], [DIRECTOR], decap=Decap.IPIP)

    assert [False] == [fact.ok for fact in facts if fact.name == "protocol 4"]
