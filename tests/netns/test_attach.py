# SPDX-License-Identifier: MIT
"""Attaching to interfaces and leaving them: what is added is taken back, and nothing else."""

import contextlib
import json
import time
from collections.abc import Iterator

import pytest
from fivehosts import RS1, RS2, Lab
from photo import machine, programs

from xdplb.host import namespaces, netlink
from xdplb.kernel import libbpf
from xdplb.lab import VIP

pytestmark = pytest.mark.root

XDP_PASS = bytes.fromhex("b7000000020000009500000000000000")  # r0 = 2; exit
ONE_MAC_PER_ADDRESS = {"arp_ignore": 1, "arp_announce": 2}


@pytest.fixture
def lvs(cluster: Lab) -> Iterator[Lab]:
    """The lab; whatever a test attaches is detached."""
    yield cluster
    cluster.try_xdplb("flush")
    for name in json.loads(cluster.try_xdplb("status", "--json").stdout or '{"interfaces":[]}')[
        "interfaces"
    ]:
        cluster.xdplb("detach", name)


@contextlib.contextmanager
def add_interface(lab: Lab) -> Iterator[None]:
    """Give the director another interface, ens34, on the network of the first one."""
    with namespaces.entered(f"{lab.name}-net2"):
        netlink.add_bridge_port("br0", "lvs34", "ens34", f"{lab.name}-lvs")
        program = libbpf.prog_load(XDP_PASS)  # or frames that XDP sends are lost: DESIGN, tests
        netlink.attach_xdp("lvs34", program)
    offloads = [word for f in ("tx", "tso", "gso", "gro") for word in (f, "off")]
    lab.run("lvs", "ethtool", "-K", "ens34", *offloads)
    lab.run("lvs", "ip", "link", "set", "ens34", "up")
    try:
        yield
    finally:
        lab.run("net2", "ip", "link", "delete", "lvs34")


@pytest.fixture
def ens34(lvs: Lab) -> Iterator[None]:
    """Another interface of the director; see add_interface()."""
    with add_interface(lvs):
        yield
        lvs.try_xdplb("detach", "ens34")


def test_detach_restores_what_attach_found(lvs):
    """Addresses, routes, settings, programs, neighbours, pins: as if nothing had been."""
    before = machine(lvs)
    lvs.attach()
    lvs.balance("rr")
    during = machine(lvs)
    pages = lvs.fetch(2)

    lvs.xdplb("detach", "ens33")

    assert ["rs2", "rs1"] == pages
    assert before == machine(lvs)
    assert {"lock", "state.json"} == {path.name for path in lvs.state.iterdir()}
    assert not [name for name in before if before[name] == during[name]]  # it was all changed


def test_attached_again_it_serves_again(lvs):
    """Services are kept while nothing is attached."""
    lvs.attach()
    lvs.balance("rr")
    lvs.xdplb("detach", "ens33")

    lvs.attach()

    assert ["rs2", "rs1"] == lvs.fetch(2)


def test_attach_again_upgrades_in_place(lvs):
    """The program is another one, the tables are the same: a connection goes on."""
    lvs.attach()
    lvs.balance("rr")
    slow = lvs.start("client", ["curl", "-sS", "--limit-rate", "5M", f"http://{VIP}/large"])
    before, tables = programs(lvs), lvs.json("status")["maps"]

    said = lvs.attach()

    page = slow.communicate(timeout=30)[0]
    assert "ens33: upgraded in place, native mode" in said
    assert before != programs(lvs)
    assert tables == lvs.json("status")["maps"]
    assert (0, 10 << 20) == (slow.returncode, len(page))


def test_attach_announces_the_vip(lvs):
    """A neighbour that knows another MAC address of the VIP learns the director's."""
    stale = ["lladdr", "02:00:00:00:00:01", "nud", "reachable", "dev", "ens160"]
    lvs.run("route", "ip", "neighbour", "replace", VIP, *stale)

    lvs.attach()

    known = lvs.output("route", "ip", "-json", "neighbour", "show", VIP)
    own = lvs.output("lvs", "ip", "-json", "link", "show", "ens33")
    assert json.loads(own)[0]["address"] == json.loads(known)[0]["lladdr"]


def test_a_vip_that_was_there_stays(lvs):
    """What attach did not add, detach does not take."""
    lvs.run("lvs", "ip", "address", "add", f"{VIP}/32", "dev", "lo")
    before = machine(lvs)

    lvs.attach()
    lvs.xdplb("detach", "ens33")

    after = machine(lvs)
    lvs.run("lvs", "ip", "address", "delete", f"{VIP}/32", "dev", "lo")
    assert before == after


def test_vip_on_a_second_interface(lvs, ens34):
    """The VIP is on ens34, the way to the reals leads out of ens33: frames are redirected."""
    for setting, value in ONE_MAC_PER_ADDRESS.items():
        lvs.run("lvs", "sysctl", "-qw", f"net.ipv4.conf.all.{setting}={value}")
    lvs.run("lvs", "ip", "address", "add", f"{VIP}/32", "dev", "ens34")
    lvs.attach("ens33", "ens34")
    lvs.balance("rr")

    pages = lvs.fetch(4)

    for setting in ONE_MAC_PER_ADDRESS:
        lvs.run("lvs", "sysctl", "-qw", f"net.ipv4.conf.all.{setting}=0")
    assert ["rs2", "rs1", "rs2", "rs1"] == pages
    assert {"forwarded_redirect"} == set(lvs.counters())


def test_two_interfaces_have_one_director(lvs, ens34):
    """Both run the same program; when one of them is left, the other serves on."""
    lvs.attach("ens33", "ens34")
    lvs.balance("rr")
    both = programs(lvs)

    lvs.xdplb("detach", "ens34")

    assert [("driver", both["ens33"][1])] * 2 == [both["ens33"], both["ens34"]]
    assert {"ens33": both["ens33"]} == programs(lvs)
    assert ["rs2", "rs1"] == lvs.fetch(2)


def test_a_real_behind_another_interface(lvs, ens34):
    """rs2 is reached by ens34, rs1 by ens33: each frame leaves where the route says."""
    lvs.run("lvs", "ip", "route", "add", RS2, "dev", "ens34", "src", "192.168.2.200")
    lvs.attach()
    lvs.balance("rr")

    pages = lvs.fetch(4)

    counters = lvs.counters()
    assert ["rs2", "rs1", "rs2", "rs1"] == pages
    assert {"forwarded", "forwarded_redirect"} == set(counters)
    assert counters["forwarded"] == counters["forwarded_redirect"]


def test_a_route_that_moves_is_followed(lvs, ens34):
    """A route to a real that changes is followed within two ticks, by no command."""
    lvs.attach()
    lvs.balance("rr", [RS1])
    before = lvs.fetch()
    lvs.run("lvs", "ip", "route", "add", RS1, "dev", "ens34", "src", "192.168.2.200")
    lvs.run("lvs", "ping", "-c1", "-W2", RS1)  # so that no ARP is in the way
    time.sleep(2.5)
    lvs.xdplb("zero")

    pages = lvs.fetch(2)

    assert (["rs1"], ["rs1", "rs1"]) == (before, pages)
    assert {"forwarded_redirect"} == set(lvs.counters())


def test_an_interface_that_went_is_told(lvs):
    """`status` says so; attach takes one of that name that came again."""
    with add_interface(lvs):
        lvs.attach("ens33", "ens34")
    gone = lvs.json("status")["interfaces"]["ens34"]["mode"]
    with add_interface(lvs):
        lvs.attach("ens34")
        again = lvs.json("status")["interfaces"]
        lvs.xdplb("detach", "ens34")

    assert "gone" == gone
    assert {"ens33": "native", "ens34": "native"} == {n: i["mode"] for n, i in again.items()}


def test_generic_mode_serves_too(lvs):
    """Where the driver has no native XDP, the kernel's generic hook does: slower, as correct."""
    said = lvs.xdplb("attach", "ens33", "--vip", VIP, "--mode", "generic", "--tune=max_vips=64")
    lvs.balance("rr")

    assert "ens33: attached, generic mode" in said
    assert "generic" == programs(lvs)["ens33"][0]
    assert ["rs2", "rs1"] == lvs.fetch(2)
