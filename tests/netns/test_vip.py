# SPDX-License-Identifier: MIT
"""VIPs have a life of their own: added, announced, saved, put back, removed."""

import subprocess
from collections.abc import Iterator

import pytest
from fivehosts import Lab
from photo import machine

from xdplb.lab import VIP

pytestmark = pytest.mark.root

OTHER, OTHER6 = "192.168.2.107", "2001:db8:2::107"


@pytest.fixture(scope="module")
def hosts(cluster: Lab) -> Lab:
    """The five hosts; IPv6 too."""
    return cluster


@pytest.fixture
def director(hosts: Lab) -> Iterator[Lab]:
    """A director without VIPs on ens33; none is left afterwards."""
    hosts.xdplb("attach", "ens33", *SIZES)
    yield hosts
    for each in hosts.json("vip", "list"):
        hosts.try_xdplb("vip", "del", each["address"])
    hosts.xdplb("detach", "ens33")


SIZES = ["--tune=max_services=64", "--tune=max_reals=4096", "--tune=flow_buckets=4096"]


def refused(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line of a command that failed with exit code 1."""
    assert 1 == done.returncode, done
    assert 1 == len(done.stderr.splitlines()), done.stderr
    return done.stderr


def addresses(lab: Lab, host: str = "lvs") -> str:
    return lab.output(host, "ip", "-o", "address", "show", "dev", "ens33")


def listed(lab: Lab) -> dict[str, tuple[str, bool, bool, int]]:
    """`vip list`: each VIP's interface, whether it was added as a VIP, by xdplb, its services."""
    return {
        each["address"]: (each["device"], each["wanted"], each["added"], each["services"])
        for each in lab.json("vip", "list")
    }


def mac(lab: Lab, host: str) -> str:
    (link,) = lab.value(host, "ip", "-json", "link", "show", "ens33")
    return link["address"]


@pytest.mark.parametrize("vip", [OTHER, OTHER6])
def test_added_and_announced(director, vip):
    """The address is on the interface, the network hears of it, and del takes it off again."""
    before = machine(director)
    capture = ["timeout", "8", "tcpdump", "-lni", "rs1", "-c1"]
    what = f"arp and src host {vip}" if "." in vip else "icmp6 and ip6[40] == 136"
    if "." in vip:
        what = f"arp and arp[14:4] == {int.from_bytes(bytes(map(int, vip.split('.'))), 'big')}"
    heard = director.start("net2", [*capture, what])
    for line in heard.stdout:
        if "listening" in line:
            break

    said = director.xdplb("vip", "add", vip)

    assert f"ens33: VIP {vip} added and announced\n" == said
    assert f" {vip}/" in addresses(director)
    assert vip in heard.communicate(timeout=10)[0]
    assert {vip: ("ens33", True, True, 0)} == listed(director)
    assert f"VIP {vip} is there already" in refused(director.try_xdplb("vip", "add", vip))

    director.xdplb("vip", "del", vip)
    assert {} == listed(director)
    assert before == machine(director)
    assert f"VIP {vip} was not added" in refused(director.try_xdplb("vip", "del", vip))


@pytest.fixture(params=[OTHER, OTHER6])
def answered(request: pytest.FixtureRequest, hosts: Lab) -> Iterator[str]:
    """An address that rs1 has on its interface, where it answers for it."""
    vip = request.param
    bits, nodad = ("/32", []) if "." in vip else ("/128", ["nodad"])
    hosts.output("rs1", "ip", "address", "add", vip + bits, "dev", "ens33", *nodad)
    arp = "/proc/sys/net/ipv4/conf/ens33/arp_ignore"
    was = hosts.output("rs1", "cat", arp).strip()
    everywhere = "/proc/sys/net/ipv4/conf/all/arp_ignore"
    was_everywhere = hosts.output("rs1", "cat", everywhere).strip()
    for path in (arp, everywhere):
        hosts.output("rs1", "sh", "-c", f"echo 0 > {path}")
    yield vip
    hosts.output("rs1", "sh", "-c", f"echo {was} > {arp}; echo {was_everywhere} > {everywhere}")
    hosts.output("rs1", "ip", "address", "delete", vip + bits, "dev", "ens33")


def test_another_answers(director, answered):
    """A real server that answers for the address is named by its MAC; --force adds it anyway."""
    before = machine(director)

    told = refused(director.try_xdplb("vip", "add", answered))

    assert f"VIP {answered} is answered by another host on ens33: {mac(director, 'rs1')}" in told
    assert f"xdplb vip add --force {answered}" in told
    assert {} == listed(director)
    assert before == machine(director)

    director.xdplb("vip", "add", "--force", answered)
    assert {answered: ("ens33", True, True, 0)} == listed(director)


def test_attach_asks_too(hosts, answered):
    """Before anything is changed: no program, no pin, no file."""
    before, had = machine(hosts), hosts.state.exists()

    told = refused(hosts.try_xdplb("attach", "ens33", "--vip", answered, *SIZES))

    assert f"is answered by another host on ens33: {mac(hosts, 'rs1')}" in told
    assert "xdplb vip add --force" in told
    assert before == machine(hosts)
    assert had == hosts.state.exists()


def test_only_what_xdplb_added_is_taken(director):
    """An address that an operator put there is wanted, and stays when it is wanted no longer."""
    director.output("lvs", "ip", "address", "add", f"{OTHER}/24", "dev", "ens33")
    try:
        director.xdplb("vip", "add", OTHER)
        assert {OTHER: ("ens33", True, False, 0)} == listed(director)

        director.xdplb("vip", "del", OTHER)

        assert f" {OTHER}/24 " in addresses(director)
    finally:
        director.output("lvs", "ip", "address", "delete", f"{OTHER}/24", "dev", "ens33")


def test_the_interface_is_named(director):
    """--dev names one that is attached; another one is refused."""
    told = refused(director.try_xdplb("vip", "add", OTHER, "--dev", "lo"))
    assert "no director is attached to interface 'lo'" in told
    director.xdplb("vip", "add", OTHER, "--dev", "ens33")
    assert "ens33" in director.xdplb("save")


@pytest.mark.parametrize("vip", ["127.0.0.1", "192.168.2.255", "224.0.0.1", "192.168.2.0"])
def test_no_vip_at_all(director, vip):
    """An address that cannot be a VIP is refused in one line."""
    done = director.try_xdplb("vip", "add", vip)

    assert done.returncode in (1, 2)
    assert 1 == len(done.stderr.splitlines())
    assert {} == listed(director)


def test_a_missing_vip_is_named_and_put_back(director):
    """Somebody takes the address off: status names it with the command that puts it back."""
    director.xdplb("vip", "add", OTHER)
    director.output("lvs", "ip", "address", "delete", f"{OTHER}/32", "dev", "ens33")

    assert [OTHER] == director.json("status")["missing_vips"]
    told = director.xdplb("status")
    assert f"VIP {OTHER} is on no interface; put it back: xdplb vip add {OTHER}" in told
    assert "missing" in director.xdplb("vip", "list")

    director.xdplb("vip", "add", "--force", OTHER)

    assert [] == director.json("status")["missing_vips"]
    assert {OTHER: ("ens33", True, True, 0)} == listed(director)


def test_a_configuration_names_vips(director):
    """VIPs come and go with the file; a file that does not speak of them leaves them."""
    director.xdplb("vip", "add", OTHER)
    director.xdplb("vip", "add", OTHER6, "--dev", "ens33")
    saved = director.xdplb("save")
    assert OTHER in saved and OTHER6 in saved
    before = listed(director)

    director.apply(f'[[service]]\ntcp = "{OTHER}:80"\nreals = []\n')
    assert before.keys() == listed(director).keys()
    assert 1 == listed(director)[OTHER][3]
    director.xdplb("flush")
    director.xdplb("vip", "del", OTHER)
    director.xdplb("vip", "del", OTHER6)
    assert {} == listed(director)

    director.apply(saved)
    assert before == listed(director)
    assert f" {OTHER}/" in addresses(director) and f" {OTHER6}/" in addresses(director)
    assert saved == director.xdplb("save")
    assert VIP not in saved


def test_services_outlive_their_vip(director):
    """The VIP of a service is removed: a note says that routers may still send its packets."""
    director.xdplb("vip", "add", OTHER)
    director.xdplb("service", "add", "-t", f"{OTHER}:80")

    done = director.try_xdplb("vip", "del", OTHER)

    assert 0 == done.returncode
    assert f"note: {OTHER} still has 1 service" in done.stderr
    assert {OTHER: ("", False, False, 1)} == listed(director)
    assert "none: routed here" in director.xdplb("vip", "list")
    director.xdplb("flush")
