# SPDX-License-Identifier: MIT
"""IPv6 in the director's commands: addresses, announcements, ways to reals. No traffic."""

import json
import sys
import time

import pytest
from dualstack import DIP6, RS1_6, RS2_6, VIP6, shell
from fivehosts import RS1, Lab

pytestmark = pytest.mark.root

SERVICE = f"[{VIP6}]:80"

# A router says on ens160 that it is the default one, of an address that no host has.
ADVERTISE = """
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import Ether
from scapy.sendrecv import sendp
ra = ICMPv6ND_RA(routerlifetime=1800)
ra /= ICMPv6NDOptPrefixInfo(prefix="2001:db8:7::", prefixlen=64, A=0)  # on the link: no address
ip = IPv6(src="fe80::7", dst="ff02::1", hlim=255)
sendp(Ether(dst="33:33:00:00:00:01") / ip / ra, iface="ens160", verbose=0)
"""


@pytest.fixture(scope="module")
def dual(cluster: Lab) -> Lab:
    """The five hosts, which have both families; nothing is attached."""
    return cluster


@pytest.fixture
def attached6(dual: Lab):
    """A director with a VIP of each family."""
    dual.attach()
    dual.xdplb("attach", "ens33", "--vip", VIP6)
    yield dual
    dual.xdplb("flush")
    dual.xdplb("detach", "ens33")


def addresses(lab: Lab) -> dict[str, dict]:
    """The director's IPv6 addresses, but for link-local ones."""
    [link] = lab.value("lvs", "ip", "-json", "-6", "address", "show", "dev", "ens33")
    return {each["local"]: each for each in link["addr_info"] if each["scope"] == "global"}


def forwarding(lab: Lab) -> list[str]:
    """What is set on the director's lo, of each family."""
    files = [f"/proc/sys/net/{family}/conf/lo/forwarding" for family in ("ipv4", "ipv6")]
    return lab.output("lvs", "cat", *files).split()


def wait_for(condition) -> None:
    """Give it five seconds."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_attach_adds_and_announces_the_vip(dual):
    """As a /128 that is no source of anything; who had it at another MAC hears where it is now."""
    stale = ["ip", "neighbour", "replace", VIP6, "lladdr", "02:00:00:00:00:99", "nud", "stale"]
    dual.run("route", *stale, "dev", "ens160")

    said = dual.xdplb("attach", "ens33", "--vip", VIP6)

    [link] = dual.value("lvs", "ip", "-json", "link", "show", "dev", "ens33")
    asked = ["ip", "-json", "neighbour", "show", VIP6]
    wait_for(lambda: link["address"] == dual.value("route", *asked)[0]["lladdr"])
    vip = addresses(dual)[VIP6]
    dual.xdplb("detach", "ens33")
    assert f"VIP {VIP6} added and announced" in said
    assert (128, True, 0) == (vip["prefixlen"], vip["deprecated"], vip["preferred_life_time"])
    assert not vip.get("tentative")
    assert {DIP6} == addresses(dual).keys()


def test_lo_alone_forwards_while_attached(dual):
    """The FIB is asked as from lo, in each family; afterwards all is as it was."""
    before = forwarding(dual)
    dual.xdplb("attach", "ens33")
    during = forwarding(dual)
    others = dual.output("lvs", "cat", "/proc/sys/net/ipv6/conf/ens33/forwarding").strip()
    dual.xdplb("detach", "ens33")

    assert (["0", "0"], ["1", "1"], "0") == (before, during, others)
    assert before == forwarding(dual)


def test_routes_from_router_advertisements_stay(dual):
    """The kernel forgets them as lo begins to forward, if it is not kept from it."""
    shell(dual, "lvs", "echo 1 >/proc/sys/net/ipv6/conf/ens33/accept_ra")
    shell(dual, "lvs", "ip -6 route del default")
    learned = ["ip", "-json", "-6", "route", "show", "proto", "ra"]
    dual.run("route", sys.executable, "-c", ADVERTISE)
    wait_for(lambda: dual.value("lvs", *learned))
    before = {route["dst"] for route in dual.value("lvs", *learned)}

    for _ in range(2):
        dual.xdplb("attach", "ens33")
        assert before == {route["dst"] for route in dual.value("lvs", *learned)}
    dual.xdplb("detach", "ens33")

    assert "default" in before
    assert before == {route["dst"] for route in dual.value("lvs", *learned)}
    assert "1\n" == dual.output("lvs", "cat", "/proc/sys/net/ipv6/conf/ens33/accept_ra")
    shell(dual, "lvs", "echo 0 >/proc/sys/net/ipv6/conf/ens33/accept_ra")
    shell(dual, "lvs", "ip -6 route flush proto ra; ip route add default via 2001:db8:2::1")


def test_services_of_both_families_and_reals_of_the_other(attached6):
    """Each real has its own family's way; what is listed and saved reads like what was said."""
    lab = attached6
    lab.xdplb("service", "add", "-t", SERVICE, "-s", "rr")
    lab.xdplb("server", "add", "-t", SERVICE, "-r", RS1_6)
    lab.xdplb("server", "add", "-t", SERVICE, "-r", f"[{RS2_6}]:80", "-w", "2")
    lab.xdplb("server", "add", "-t", SERVICE, "-r", RS1)
    lab.xdplb("deny", "add", "2001:db8:bad::/48")

    saved = lab.xdplb("save")
    lab.apply(saved)
    routes = json.loads((lab.state / "state.json").read_text())["routes"]
    neighbours = lab.value("lvs", "ip", "-json", "-6", "neighbour")

    assert {RS1_6: DIP6, RS2_6: DIP6, RS1: "192.168.2.200"} == {
        real: way["source"] for way, reals in routes for real in reals.split()
    }
    assert {RS1_6, RS2_6} == {each["dst"] for each in neighbours if "managed" in each}
    assert f'tcp = "{SERVICE}"\n' in saved
    assert f'    "{RS2_6} weight=2",\n' in saved
    assert saved == lab.xdplb("save")
    assert "2001:db8:bad::/48\n" == lab.xdplb("deny", "list")
    shown = [line.split() for line in lab.xdplb("list").splitlines()[2:]]
    assert [f"tcp/{SERVICE}", "rr"] == shown[0]
    assert ["→", RS2_6, "→", "ipip", "2"] == shown[2]
    lab.xdplb("server", "del", "-t", SERVICE, "-r", f"[{RS2_6}]")
    lab.xdplb("deny", "del", "2001:db8:bad::/48")


def test_a_link_local_gateway_is_a_next_hop(attached6):
    """With its device, as all are: the kernel keeps it resolved, until the real is removed."""
    lab = attached6
    shell(lab, "lvs", "ip route add 2001:db8:9::/64 via fe80::9 dev ens33")
    lab.xdplb("service", "add", "-t", SERVICE)
    managed = ["ip", "-json", "neighbour", "show", "fe80::9", "dev", "ens33"]

    lab.xdplb("server", "add", "-t", SERVICE, "-r", "2001:db8:9::1")
    kept = lab.value("lvs", *managed)
    lab.xdplb("server", "del", "-t", SERVICE, "-r", "2001:db8:9::1")
    shell(lab, "lvs", "ip route del 2001:db8:9::/64")

    assert ["managed" in each for each in kept] == [True]
    assert not any("managed" in each for each in lab.value("lvs", *managed))


def refused(lab: Lab, *argv: str) -> str:
    """One line, exit code 1: the command line is right, this host is not ready for it."""
    done = lab.try_xdplb(*argv)
    assert (1, 1) == (done.returncode, done.stderr.count("\n"))
    return done.stderr


def test_a_real_needs_a_dip_of_its_family(attached6):
    """Not loopback's, not a link's, and no VIP."""
    lab = attached6
    lab.xdplb("service", "add", "-t", SERVICE)
    add = ["server", "add", "-t", SERVICE, "-r", "2001:db8:9::1"]

    shell(lab, "lvs", f"ip address change {VIP6}/128 dev ens33 preferred_lft forever")
    from_vip = refused(lab, "server", "add", "-t", SERVICE, "-r", "2001:db8:2::101")
    lab.xdplb("detach", "ens33")
    lab.xdplb("attach", "ens33")
    lab.xdplb("vip", "del", VIP6)
    shell(lab, "lvs", f"ip address del {DIP6}/64 dev ens33; ip -6 route replace default dev ens33")
    none = refused(lab, *add)
    shell(lab, "lvs", f"ip -6 route del default; ip address add {DIP6}/64 dev ens33 nodad")
    shell(lab, "lvs", "ip route add default via 2001:db8:2::1")

    assert f"sent to from the VIP {VIP6}, not from a DIP; run: ip address change" in from_vip
    assert "2001:db8:9::1 is IPv6, and this host has no IPv6 address to send from; add" in none
