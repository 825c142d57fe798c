# SPDX-License-Identifier: MIT
"""Each network namespace has its own instances, and those of one namespace leave each other be."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fivehosts import RS1, RS2, SMALL, XDPLB, Lab
from photo import machine

from xdplb.lab import VIP

pytestmark = [pytest.mark.root, pytest.mark.slow]

SIZES = [f"--tune={name}={value}" for name, value in SMALL.items()]
AT = ("-t", f"{VIP}:80")


def fails(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """It failed with exit code 1 and one line, which has these words."""
    assert 1 == done.returncode, done.stdout
    assert 1 == len(done.stderr.splitlines()), done.stderr
    for word in words:
        assert word in done.stderr


# ---- from another namespace ---------------------------------------------------------------------


@pytest.fixture
def director(cluster: Lab) -> Iterator[Lab]:
    """An attached director of two reals."""
    cluster.attach()
    cluster.balance("rr")
    yield cluster
    cluster.try_xdplb("detach", "ens33")


def elsewhere(lab: Lab, host: str | None, *argv: str) -> "subprocess.CompletedProcess[str]":
    """Run xdplb on another host of the lab; None: in the machine's own namespace."""
    if host is not None:
        return lab.run(host, XDPLB, *argv, check=False)
    return subprocess.run([XDPLB, *argv], capture_output=True, text=True, timeout=60)


def test_another_namespace_has_its_own_director(director):
    """There, no director is seen, and none is hurt."""
    before = machine(director)

    fails(elsewhere(director, "client", "status"), "no director is attached as instance 'default'")
    fails(elsewhere(director, "client", "detach", "ens33"), "no director is attached to interface")
    fails(elsewhere(director, "client", "list"), "no director is attached")
    attached = elsewhere(director, "client", "attach", "ens33", *SIZES)
    assert 0 == attached.returncode, attached.stderr
    assert "ens33: attached" in attached.stdout, "nothing was upgraded"
    assert [] == director.value("client", XDPLB, "list", "--json")  # the others are not its own
    assert 0 == elsewhere(director, "client", "detach", "ens33").returncode

    assert before == machine(director)
    assert {"rs1", "rs2"} == set(director.fetch(4))


@pytest.mark.parametrize("host", ["client", None], ids=["client", "the machine"])
def test_a_director_elsewhere_is_read_by_its_cookie(director, host):
    """By its namespace's cookie it is read from anywhere; a change is refused, and changes
    nothing.
    """
    name = director.pins.name
    assert name.startswith("default@")
    at = ("--instance", name)
    before, saved = machine(director), director.xdplb("save")

    for command in ("list", "save"):
        seen = elsewhere(director, host, *at, command)
        assert 0 == seen.returncode, seen.stderr
        assert director.xdplb(command) == seen.stdout
    assert 0 == elsewhere(director, host, *at, "status").returncode
    for change in (
        ["detach", "ens33"],
        ["server", "del", *AT, "-r", RS1],
        ["flush"],
        ["zero"],
        ["vip", "del", VIP],
        *([["attach", "ens33"]] if host else []),
    ):
        fails(elsewhere(director, host, *at, *change), f"'{name}' is in another network namespace")

    assert (before, saved) == (machine(director), director.xdplb("save"))


# ---- two in one namespace -----------------------------------------------------------------------


@pytest.fixture
def pair(cluster: Lab) -> Iterator[Lab]:
    """A second interface, to the client's network, for an instance of its own: `other`.

    Both instances have the VIP and both reals. The client's packets come to ens33 of the first.
    """
    lab = cluster
    for words in (
        "link add dummy7 type veth peer name dummy8",
        "link set dummy7 up",
        "link set dummy8 up",
    ):
        lab.output("lvs", "ip", *words.split())
    yield lab
    for instance, device in (("default", "ens33"), ("other", "dummy7")):
        lab.run("lvs", XDPLB, "--instance", instance, "detach", device, check=False)
    lab.output("lvs", "ip", "link", "delete", "dummy7")


INSTANCES = {"default": "ens33", "other": "dummy7"}


def attach(lab: Lab, instance: str) -> None:
    at = ("--instance", instance)
    lab.xdplb(*at, "attach", INSTANCES[instance], "--vip", VIP, *SIZES)
    file = Path("/run/xdplb/lab", lab.name, "instances.toml")
    file.write_text(
        f"[[service]]\ntcp = '{VIP}:80'\nscheduler = 'rr'\nreals = ['{RS1}', '{RS2}']\n"
    )
    lab.xdplb(*at, "apply", str(file))


def forwarding(lab: Lab) -> list[str]:
    """lo's, of both families."""
    paths = [f"/proc/sys/net/{family}/conf/lo/forwarding" for family in ("ipv4", "ipv6")]
    return lab.output("lvs", "cat", *paths).split()


def managed(lab: Lab) -> list[str]:
    known = lab.value("lvs", "ip", "-json", "neighbour")
    return sorted(each["dst"] for each in known if "managed" in each)


def has_vip(lab: Lab) -> bool:
    return f"{VIP}/32" in lab.output("lvs", "ip", "-o", "-4", "address")


@pytest.mark.parametrize("lost", [False, True], ids=["", "after /run was lost"])
@pytest.mark.parametrize("order", [["default", "other"], ["other", "default"]], ids="-".join)
def test_the_last_one_switches_off_the_light(pair, order, lost):
    """The first one's detach leaves forwarding, neighbours and VIP to the other; the last one's
    restores all. So it is though nothing but the pins remembers.
    """
    first, last = order
    lab = pair
    before = machine(lab)
    attach(lab, "default")
    attach(lab, "other")
    assert has_vip(lab)
    if lost:
        for name in INSTANCES:
            path = lab.state.with_name(lab.state.name.replace("default", name))
            subprocess.run(["rm", "-r", str(path)], check=True)
        lab.instance.shares.unlink()

    lab.xdplb("--instance", first, "detach", INSTANCES[first])

    assert ["1", "1"] == forwarding(lab)
    assert [RS2, RS1] == managed(lab)
    assert has_vip(lab)
    if last == "default":
        assert {"rs1", "rs2"} == set(lab.fetch(4))

    lab.xdplb("--instance", last, "detach", INSTANCES[last])
    after = machine(lab)
    assert before == after


def test_one_that_cannot_be_read_keeps_its_neighbours(pair):
    """The other instance's file is damaged and has no copy: its neighbours may be needed, and no
    command of the first one fails for it.
    """
    attach(pair, "default")
    attach(pair, "other")
    other = pair.state.with_name(pair.state.name.replace("default", "other"))
    (other / "state.json").write_text("{}")
    (pair.pins.with_name(other.name) / "state").unlink()

    pair.xdplb("server", "del", *AT, "-r", RS2)
    pair.xdplb("detach", "ens33")

    assert [RS2, RS1] == managed(pair)
    assert ["1", "1"] == forwarding(pair)
    (other / "state.json").unlink()
    pair.xdplb("--instance", "other", "detach", "dummy7")
    assert ["0", "0"] == forwarding(pair)
    for real in (RS1, RS2):  # nobody knows any more whose they were
        pair.output("lvs", "ip", "neighbour", "delete", real, "dev", "ens33")
