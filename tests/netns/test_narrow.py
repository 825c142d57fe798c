# SPDX-License-Identifier: MIT
"""100 MB over paths that are narrower in their middle, where ICMP says so and where it is eaten.

That middle is the router: it forwards nothing longer than its routes say (`mtu lock`), and says so.
Where a firewall on it eats what is said, the transfer is seen to stall before it is mended.
"""

import itertools
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from dualstack import IPV4, both_families, forget_paths, meanwhile, shell
from fivehosts import XDPLB

pytestmark = [pytest.mark.root, both_families]

SIZE = 100_000_000
MTU = 1400
NUMBERS = itertools.count(221)  # of rs1's further addresses
TOO_BIG = {
    4: "icmp type destination-unreachable icmp code frag-needed ip daddr",
    6: "icmpv6 type packet-too-big ip6 daddr",
}


def transfer(lab, family, direction, limit_s=30):
    """What curl says of a download or an upload: its size, or why there is none."""
    what = {
        "download": [f"{family.url}large"],
        "upload": [f"{family.url}upload", "--data-binary", f"@{large_page(lab)}"],
    }
    curl = ["curl", "-sSf", "-m", str(limit_s), "-o", "/dev/null", "-w", f"%{{size_{direction}}}"]
    done = lab.run("client", *curl, *what[direction], check=False)
    return done.stderr or done.stdout


def stalls(lab, family, direction):
    """Whether nothing is complete in the time of two transfers."""
    return "Operation timed out" in transfer(lab, family, direction, limit_s=3)


def large_page(lab):
    return Path("/run/xdplb/lab", lab.name, "large")


def known_mtu(lab, host, destination):
    [route] = lab.value(host, "ip", "-json", "route", "get", destination)
    return route["metrics"][0]["mtu"]


@contextmanager
def eating(lab, family, *addresses):
    """A firewall on the router: these addresses do not hear of packets that are too big."""
    rule = f"{TOO_BIG[family.version]} {{ {', '.join(addresses)} }} drop"
    script = f"""nft -f - <<END
        table inet eater {{
            chain said_here {{ type filter hook output priority 0; {rule}; }}
            chain said_behind {{ type filter hook forward priority 0; {rule}; }}
        }}\nEND"""
    with meanwhile(lab, "route", script, "nft delete table inet eater"):
        yield


@pytest.fixture(scope="module")
def ready(attached_dual):
    """The page has 100 MB, rs1 unwraps every tunnel, and nobody leaves the way that is narrow."""
    with large_page(attached_dual).open("wb") as page:
        page.truncate(SIZE)
    decap = ["--vip", IPV4.vip, "--decap", "xdp"]
    attached_dual.xdplb("realserver", "setup", *decap, host="rs1")
    for scope in ("ipv4.conf.all", "ipv4.conf.ens33", "ipv6.conf.ens33"):
        attached_dual.run("lvs", "sysctl", "-qw", f"net.{scope}.accept_redirects=0")


@pytest.fixture
def narrow(ready, dual, family):
    """Between the client and the VIP, in both directions."""
    with ExitStack() as stack:
        for there, by in ((family.client, "ens33"), (family.vip, "ens160")):
            route = f"ip route add {there} dev {by} mtu lock {MTU}", f"ip route del {there}"
            stack.enter_context(meanwhile(dual, "route", *route))
        dual.balance("mh", [family.rs1], f'tcp = "{family.at(80)}"')
        yield dual
        forget_paths(dual)


@pytest.fixture
def rip(family):
    """Each test has another: what the director learns of one lives for minutes."""
    return f"{family.gateway.removesuffix('1')}{next(NUMBERS)}"


@pytest.fixture
def around(ready, dual, family, rip):
    """Between the director and an address of rs1's, which it reaches by way of the router."""
    with ExitStack() as stack:
        for host, what in (
            ("rs1", f"address {{}} {rip} dev ens33"),
            ("route", f"route {{}} {rip} dev ens160 mtu lock {MTU}"),
            ("lvs", f"route {{}} {rip} via {family.gateway}"),
        ):
            does, undoes = (f"ip {what.format(verb)}" for verb in ("add", "del"))
            stack.enter_context(meanwhile(dual, host, does, undoes))
        dual.balance("mh", [rip], f'tcp = "{family.at(80)}"')
        yield dual
        dual.xdplb("flush")
        forget_paths(dual)


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_icmp_tells_both_ends(narrow, family, direction):
    """What a router says of a reply is sent to the VIP: the director hands it to the real."""
    assert str(SIZE) == transfer(narrow, family, direction)

    who, of = ("rs1", family.client) if direction == "download" else ("client", family.vip)
    assert MTU == known_mtu(narrow, who, of)


@pytest.mark.parametrize(
    ("does", "undoes"),
    [
        ("ip route add {client} via {gateway} mtu 1400", "ip route del {client}"),
        ("sysctl -qw net.ipv4.tcp_mtu_probing=1", "sysctl -qw net.ipv4.tcp_mtu_probing=0"),
    ],
    ids=["route", "probing"],
)
def test_a_real_that_hears_nothing(narrow, family, does, undoes):
    """It sends into the void until its route to clients has the MTU, or TCP looks for it."""
    does, undoes = (
        command.format(client=family.client, gateway=family.gateway) for command in (does, undoes)
    )
    with eating(narrow, family, family.vip):
        assert stalls(narrow, family, "download")

        with meanwhile(narrow, "rs1", does, undoes):
            assert str(SIZE) == transfer(narrow, family, "download")


@pytest.mark.parametrize("path", ["narrow", "around"])
def test_a_client_that_hears_nothing(request, family, path):
    """It does, until the real's route to the director has the MTU and `setup` is run again: then
    the real asks for segments that fit, on the client's side of the director too.
    """
    lab = request.getfixturevalue(path)
    setup = f"{XDPLB} realserver setup --vip {family.vip}"
    route = f"ip route {{}} {family.dip} dev ens33 mtu {MTU}; {setup}"
    with eating(lab, family, family.client, family.vip, family.dip):
        assert stalls(lab, family, "upload")

        with meanwhile(lab, "rs1", route.format("add"), route.format("del")):
            assert str(SIZE) == transfer(lab, family, "upload")


@pytest.mark.parametrize(("tunnel", "added"), [("ipip", 20), ("gre", 24), ("gue", 32)])
def test_icmp_tells_the_director(around, family, rip, tunnel, added):
    """What a router says of a tunnel's packet, the director tells the client, less the tunnel."""
    around.balance("mh", [f"{rip} tunnel={tunnel}"], f'tcp = "{family.at(80)}"')

    assert str(SIZE) == transfer(around, family, "upload")

    outer = {4: 0, 6: 20}[family.version]
    assert MTU - added - outer == known_mtu(around, "client", family.vip)
    assert 0 < around.counters()["replied_too_big"] < 30
    assert str(SIZE) == transfer(around, family, "download")


def test_a_director_that_hears_nothing(around, family, rip):
    """It sends into the void until its route to the real has the MTU; then it tells the client."""
    with eating(around, family, family.dip):
        assert stalls(around, family, "upload")

        shell(around, "lvs", f"ip route change {rip} via {family.gateway} mtu lock {MTU}")
        assert str(SIZE) == transfer(around, family, "upload")
