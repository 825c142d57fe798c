# SPDX-License-Identifier: MIT
"""`realserver check` finds what is wrong with a real tunl0, and `setup` mends it."""

from collections.abc import Iterable, Iterator

import pytest
from directors import Xdplb
from fivehosts import RS1, Lab

from xdplb.lab import VIP
from xdplb.model.address import parse_address
from xdplb.realserver import host, script, setup

pytestmark = pytest.mark.root

VIPS = [parse_address(VIP)]
FIREWALL = """
table inet firewall {
    chain input {
        type filter hook input priority filter
        ip protocol 4 drop
    }
}
"""


@pytest.fixture(scope="module")
def director(cluster: Lab, xdplb: Xdplb) -> Iterator[None]:
    """A director whose only real server is rs1."""
    cluster.balance("rr", [RS1])
    yield
    xdplb.flush()


@pytest.fixture
def rs1(cluster: Lab, director: None) -> host.Host:
    """A real server that is set up. Each test mends what it breaks."""
    return host.Host(netns=f"{cluster.name}-rs1")


def set_value(dev: str, key: str, value: int) -> str:
    """The command that sets a setting of an interface."""
    return f"echo {value} > /proc/sys/net/ipv4/conf/{dev}/{key}"


def wrong(facts: Iterable[script.Fact]) -> dict[str, str]:
    """The wrong facts, and what was found."""
    return {fact.name: fact.found for fact in facts if not fact.ok}


def is_served(lab: Lab) -> bool:
    """Whether a request is answered."""
    curl = ("curl", "-sS", "-m", "2", f"http://{VIP}/")
    return lab.run("client", *curl, check=False).stdout == "rs1\n"


@pytest.mark.parametrize(
    ("fault", "facts"),
    [
        (
            set_value("tunl0", "rp_filter", 1),
            {"rp_filter tunl0": "1 (strict: all 0, tunl0 1)"},
        ),
        (
            set_value("all", "rp_filter", 1),
            {"rp_filter tunl0": "1 (strict: all 1, tunl0 0)"},
        ),
        (f"ip address del {VIP}/32 dev tunl0", {f"vip {VIP}": "nowhere"}),
        (
            "ip link set tunl0 down",
            {"tunl0": "down", f"vip {VIP}": f"{VIP}/32 on tunl0 (down)"},
        ),
    ],
    ids=["rp_filter 1 on tunl0", "rp_filter 1 on all", "VIP missing", "tunl0 down"],
)
def test_what_refuses_requests_is_found_and_mended(cluster, rs1, fault, facts):
    """Requests fail; `check` says why; after `setup` they succeed again."""
    cluster.run("rs1", "sh", "-c", fault)

    broken = is_served(cluster), wrong(setup.check(rs1, VIPS))
    mended = wrong(setup.setup(rs1, VIPS)), is_served(cluster)
    assert ((False, facts), ({}, True)) == (broken, mended)


def test_what_is_wrong_for_others_is_found_and_mended(cluster, rs1):
    """If the real answers ARP for the VIP, or asks for full segments, `setup` mends it."""
    cluster.run("rs1", "sh", "-c", set_value("all", "arp_ignore", 0))
    cluster.run("rs1", "nft", "flush chain inet xdplb_realserver mss")

    found = wrong(setup.check(rs1, VIPS))
    mended = wrong(setup.setup(rs1, VIPS))

    assert ({"arp_ignore": "0 on ens33", f"mss {VIP}": "1460"}, {}) == (found, mended)


def test_a_loose_filter_is_accepted(cluster, rs1):
    """With rp_filter 2 requests succeed. `check` shows the value, and finds nothing wrong."""
    for dev in ("tunl0", "all"):
        cluster.run("rs1", "sh", "-c", set_value(dev, "rp_filter", 2))
        facts = {fact.name: fact for fact in setup.check(rs1, VIPS)}
        served = is_served(cluster)
        cluster.run("rs1", "sh", "-c", set_value(dev, "rp_filter", 0))

        assert served
        assert ({}, "2 (loose)") == (wrong(facts.values()), facts["rp_filter tunl0"].found)


def test_a_firewall_is_found_and_its_mend_is_told(cluster, rs1):
    """`setup` changes only its own rules. `check` prints the command that lets tunnels in."""
    cluster.run("rs1", "nft", FIREWALL)

    facts = [fact for fact in setup.setup(rs1, VIPS) if not fact.ok]
    before = is_served(cluster)
    cluster.run("rs1", "sh", "-ec", facts[0].mend)
    after = is_served(cluster), wrong(setup.check(rs1, VIPS))

    cluster.run("rs1", "nft", "delete table inet firewall")
    assert [("protocol 4", "inet firewall input: ip protocol 4 drop")] == [
        (fact.name, fact.found) for fact in facts
    ]
    assert (False, (True, {})) == (before, after)
