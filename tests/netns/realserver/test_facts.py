# SPDX-License-Identifier: MIT
"""Real servers: `check` finds each fault, `setup` mends it, `teardown` leaves no trace."""

from pathlib import Path

import pytest

from xdplb.errors import XdplbError
from xdplb.host import namespaces
from xdplb.model.address import parse_address, parse_prefix
from xdplb.realserver import setup, unwrapper
from xdplb.realserver.setup import Decap

pytestmark = pytest.mark.root

VIP, OTHER_VIP = parse_address("192.168.2.100"), parse_address("192.168.2.101")
DIRECTOR, OTHER_DIRECTOR = parse_address("192.168.2.200"), parse_address("192.168.2.201")


def test_check_finds_what_is_missing(real):
    """A host as it is installed lacks the VIP, its silence, and the MSS; check changes nothing."""
    before = real.everything()

    wrong = real.wrong()

    assert {f"vip {VIP}", f"mss {VIP}", "arp_ignore", "arp_announce"} <= wrong
    assert before == real.everything()


@pytest.mark.parametrize(
    ("rp_filter_all", "rp_filter_eth0"), [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1)]
)
def test_setup_makes_all_facts_right(real, rp_filter_all, rp_filter_eth0):
    """After setup, check has nothing to say; the reverse path filter is not strict anywhere it
    would refuse a client, and not weaker than it was where nothing depends on it.
    """
    real.put("all", "rp_filter", rp_filter_all)
    real.put("eth0", "rp_filter", rp_filter_eth0)
    peer = real.effective("peer0", "rp_filter")

    facts = setup.setup(real.host, [VIP], [DIRECTOR])

    assert [fact for fact in facts if not fact.ok] == []
    assert real.wrong() == set()
    assert peer == real.effective("peer0", "rp_filter")
    assert f"inet {VIP}/32" in real.run("ip address")


@pytest.mark.parametrize(
    ("fault", "fact"),
    [
        ("echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore", "arp_ignore"),
        ("echo 3 > /proc/sys/net/ipv4/conf/eth0/arp_ignore", "arp_ignore"),
        ("echo 0 > /proc/sys/net/ipv4/conf/all/arp_announce", "arp_announce"),
        ("for d in lo tunl0; do ip addr del 192.168.2.100/32 dev $d || :; done", "vip"),
        ("nft delete table inet xdplb_realserver", "mss"),
        ("nft flush ruleset", "mss"),
        ("ip link set eth0 mtu 1400", "mss"),
    ],
)
def test_setup_mends_each_fault(real, fault, fact):
    """A setting that somebody changed is found by its name, and mended by setup."""
    setup.setup(real.host, [VIP])
    real.run(fault)

    assert {name.partition(" ")[0] for name in real.wrong()} == {fact}
    setup.setup(real.host, [VIP])
    assert real.wrong() == set()


def test_strict_filter_on_the_way_in_is_a_fault(real):
    """With rp_filter 1 in `all`, clients answered by another interface would be refused."""
    setup.setup(real.host, [VIP], decap=Decap.XDP)
    real.put("all", "rp_filter", 1)
    real.put("eth0", "rp_filter", 0)

    assert real.wrong() == {"rp_filter eth0"}
    setup.setup(real.host, [VIP])
    assert real.effective("eth0", "rp_filter") == 2


def test_vip_on_an_interface_that_is_down_is_a_fault(real):
    """An address of an interface that is down is nobody's."""
    real.run("ip link set lo down")
    before = real.everything()
    setup.setup(real.host, [VIP], decap=Decap.XDP)
    assert real.wrong() == set()
    real.run("ip link set lo down")

    assert real.wrong() == {f"vip {VIP}"}
    setup.teardown(real.host)
    assert before == real.everything()


def test_program_taken_off_is_a_fault(real):
    """An unwrapper that is gone is found, and attached again."""
    setup.setup(real.host, [VIP], decap=Decap.XDP)
    with namespaces.entered(real.name):
        unwrapper.detach("eth0")

    assert real.wrong() == {"program eth0", "decap eth0"}
    setup.setup(real.host, [VIP])
    assert real.wrong() == set()


def test_setup_twice_is_setup_once(real):
    """Setup changes nothing where all is as it should be."""
    setup.setup(real.host, [VIP], [DIRECTOR])
    once = real.everything()

    setup.setup(real.host, [VIP], [DIRECTOR])

    assert once == real.everything()


def test_vips_come_and_go_one_by_one(real):
    """A second setup adds its VIP and director; a teardown of one VIP leaves the others."""
    before = real.everything()
    setup.setup(real.host, [VIP], [DIRECTOR])
    only_first = real.everything()

    setup.setup(real.host, [OTHER_VIP])
    assert real.wrong(VIP, OTHER_VIP) == set()
    setup.teardown(real.host, [OTHER_VIP])
    assert only_first == real.everything()
    assert real.wrong(OTHER_VIP) >= {f"vip {OTHER_VIP}", f"mss {OTHER_VIP}"}
    setup.teardown(real.host, [VIP])

    assert before == real.everything()


@pytest.mark.parametrize("repeats", [1, 2])
def test_teardown_restores_what_was_found_at_first(real, repeats):
    """Odd values come back exactly, however often setup ran; a second teardown is idle."""
    for dev, key, value in [
        ("all", "rp_filter", 1),
        ("default", "rp_filter", 2),
        ("eth0", "rp_filter", 0),
        ("all", "arp_announce", 1),
        ("peer0", "arp_ignore", 3),
    ]:
        real.put(dev, key, value)
    before = real.everything()

    for vip in (VIP, OTHER_VIP)[:repeats]:
        setup.setup(real.host, [vip], [DIRECTOR])
    setup.teardown(real.host)
    assert before == real.everything()
    setup.teardown(real.host)

    assert before == real.everything()


def test_vip_that_was_there_stays(real):
    """An address that somebody else had put on lo is used, and outlives the teardown."""
    real.run(f"ip addr add {VIP}/32 dev lo")
    before = real.everything()

    setup.setup(real.host, [VIP])
    assert real.wrong() == set()
    setup.teardown(real.host)

    assert before == real.everything()


def test_vip_on_the_network_s_interface_is_refused(real):
    """A VIP that eth0 answers ARP for is a person's decision: named, and nothing is changed."""
    real.run(f"ip addr add {VIP}/24 dev eth0")
    before = real.everything()

    with pytest.raises(XdplbError, match=r"is on eth0.*ip addr del 192\.168\.2\.100 dev eth0"):
        setup.setup(real.host, [VIP])

    assert before == real.everything()
    assert f"vip {VIP}" in real.wrong()


def test_stale_state_of_an_old_namespace_is_not_believed(real):
    """A namespace that got the number of a deleted one keeps its own values."""
    inode = Path(f"/run/netns/{real.name}").stat().st_ino
    state = Path(f"/run/xdplb/realserver/{inode}.state")
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("decap xdp -\nsysctl all rp_filter 1\nvip 192.0.2.1 lo added\n")
    before = real.everything()

    setup.setup(real.host, [VIP])
    setup.teardown(real.host)

    assert before == real.everything()


def test_syn_asks_for_room(real):
    """A real's SYN-ACK from the VIP advertises 1440; other addresses of the host stay at 1460."""
    setup.setup(real.host, [VIP])

    rules = real.run("nft list table inet xdplb_realserver")

    assert "ip saddr 192.168.2.100 tcp flags syn / syn,rst tcp option maxseg size set 1440" in rules
    assert rules.count("maxseg") == 1


def test_only_named_directors_may_tunnel(real):
    """With directors named, the firewall and the program know them, and no others."""
    setup.setup(real.host, [VIP], [DIRECTOR])
    setup.setup(real.host, [VIP], [OTHER_DIRECTOR])

    rules = real.run("nft -n list table inet xdplb_realserver")

    assert "ip protocol 4 ip saddr != { 192.168.2.200, 192.168.2.201 }" in rules


def test_a_prefix_of_directors_may_tunnel(real):
    """With a prefix named, the firewall or the program knows it whole, beside addresses."""
    prefix = parse_prefix("10.9.0.0/24")

    facts = setup.setup(real.host, [VIP], [DIRECTOR, prefix])

    rules = real.run("nft -n list table inet xdplb_realserver")
    assert "ip protocol 4 ip saddr != { 10.9.0.0/24, 192.168.2.200 }" in rules
    assert [] == [fact for fact in facts if not fact.ok]
    assert [] == [fact for fact in setup.check(real.host) if not fact.ok]


@pytest.mark.parametrize(
    ("hook", "rules", "blocked"),
    [
        ("input", ["ip protocol 4 drop"], True),
        ("prerouting", ["meta l4proto { 4, 47 } drop"], True),
        ("input", ["policy drop", "tcp dport 80 accept"], True),
        ("input", ["policy drop", 'iifname "lo" accept', "ct state established accept"], True),
        ("input", ["policy drop", "ip protocol 4 accept"], False),
        ("input", ["ip protocol 4 ip saddr 192.168.2.200 accept", "ip protocol 4 drop"], False),
        ("forward", ["ip protocol 4 drop"], False),
        ("input", ["ip protocol 41 drop"], False),
        ("input", ["policy drop", "ip saddr 192.168.2.0/24 accept"], False),
    ],
)
def test_firewalled_tunnel_is_found(real, hook, rules, blocked):
    """A rule that drops protocol 4 before it could reach tunl0 is named, with what to insert."""
    chain = "\n".join(["chain c {", f"type filter hook {hook} priority 0", *rules, "}"])
    real.run(f"nft -f - <<'END'\ntable inet firewall {{\n{chain}\n}}\nEND")

    facts = setup.check(real.host, [VIP], [DIRECTOR], decap=Decap.IPIP)

    [fact] = [fact for fact in facts if fact.name == "protocol 4"]
    assert blocked == (not fact.ok)
    if blocked:
        assert "inet firewall c" in fact.found
        mend = "nft insert rule inet firewall c ip protocol 4 ip saddr { 192.168.2.200 } accept"
        assert mend in fact.mend
        real.run(mend.replace("{", "'{").replace("}", "}'"))
        facts = setup.check(real.host, [VIP], [DIRECTOR], decap=Decap.IPIP)
        assert [fact.ok for fact in facts if fact.name == "protocol 4"] == [True]


def test_tunl0_is_the_kernel_s_way(real, ipip):
    """Where the kernel has ipip, the VIP is on tunl0, which is up, and its filter is off."""
    real.put("all", "rp_filter", 1)
    before = real.everything()

    facts = setup.setup(real.host, [VIP], [DIRECTOR])

    assert [fact for fact in facts if not fact.ok] == []
    assert f"{VIP}/32" in real.run("ip -o address show dev tunl0")
    assert real.effective("tunl0", "rp_filter") == 0
    assert real.effective("eth0", "rp_filter") == 1
    setup.teardown(real.host)
    assert before == real.everything()


def test_no_ipip_is_one_clear_line(real, has_ipip):
    """Asked for tunl0 on a kernel without it, setup says so and changes nothing."""
    if has_ipip:
        pytest.skip("this kernel has ipip")
    before = real.everything()

    with pytest.raises(XdplbError, match=r"no ipip.*--decap xdp"):
        setup.setup(real.host, [VIP], decap=Decap.IPIP)

    assert before == real.everything()


def test_no_way_in_is_one_clear_line(real):
    """Without a default route nothing tells where the tunnel comes in: name it."""
    real.run("ip route del default")

    with pytest.raises(XdplbError, match="name the --director, or the --dev"):
        setup.setup(real.host, [VIP])
    facts = setup.setup(real.host, [VIP], devices=["eth0"])

    assert [fact for fact in facts if not fact.ok] == []
