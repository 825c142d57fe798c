# SPDX-License-Identifier: MIT
"""What the command line changes, by what `list --json` says then; and nothing else changes."""

import json
import shutil
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from fivehosts import RS1, RS2, SMALL, XDPLB, Lab
from photo import files, machine, tables

from xdplb import lab as labs
from xdplb.host import namespaces
from xdplb.lab import VIP

pytestmark = pytest.mark.root

RS3 = "192.168.2.230"
T, U = ("-t", f"{VIP}:80"), ("-u", f"{VIP}:53")
WEB, DNS = f"tcp/{VIP}:80", f"udp/{VIP}:53"
CONFIGURATION = f"""\
[timeouts]
tcp = 901
tcpfin = 120
udp = 300

[[service]]
udp = "{VIP}:53"
scheduler = "mh"
flags = ["mh-fallback", "mh-port"]
one_packet = true
reals = [
    "{RS2} weight=0",
    "{RS1} weight=65535",
]

[[service]]
tcp = "{VIP}:80"
scheduler = "rr"
reals = [
    "{RS1}",
    "{RS2}",
]

[[service]]
tcp = "{VIP}:0"
scheduler = "sh"
reals = [
]
"""
CHANGED = f"""\
[timeouts]
udp = 200
tcp = 901

[[service]]
udp = "{VIP}:53"
scheduler = "wrr"
reals = ["{RS1} weight=2", "{RS3}"]

[[service]]
tcp = "{VIP}:80"
scheduler = "rr"
reals = ["{RS2}", "{RS1}"]

[[service]]
tcp = "{VIP}:443"
"""
DIFFERENCE = f"""\
~ timeout udp 300 → 200
~ service {DNS} scheduler mh → wrr
~ service {DNS} flags mh-fallback,mh-port → none
~ service {DNS} one_packet one_packet → none
- real {DNS} {RS2}
~ real {DNS} {RS1} weight 65535 → 2
+ real {DNS} {RS3} weight 1
~ service {WEB} order of reals
- service tcp/{VIP}:0
+ service tcp/{VIP}:443 mh
"""


def silent(lab: Lab, *argv: str) -> None:
    """Run a command that succeeds and says nothing."""
    done = lab.try_xdplb(*argv)

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr), argv


def piped(lab: Lab, text: str, *argv: str) -> str:
    """Run a command with this as its standard input, and give what it printed."""
    return labs.run(lab.name, "lvs", [XDPLB, *argv], stdin=text).stdout


def send(lab: Lab, datagrams: int) -> None:
    """Send datagrams from the client to the UDP service."""
    with namespaces.entered(f"{lab.name}-client"):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with udp:
        for _ in range(datagrams):
            udp.sendto(b"?", (VIP, 53))


def reals(lab: Lab) -> dict[str, list[tuple[str, int]]]:
    """Each service's reals and weights."""
    return {
        service["service"]: [(real["address"], real["weight"]) for real in service["reals"]]
        for service in lab.json("list")
    }


def counting(lab: Lab) -> set[str]:
    """The services of which something is counted, for themselves or for a real of theirs."""
    return {
        service["service"]
        for service in lab.json("list", "--stats")
        if any(any(each["stats"].values()) for each in (service, *service["reals"]))
    }


@pytest.fixture
def two(director: Lab) -> Lab:
    """A director with two services of two reals."""
    service = f'[[service]]\n%s\nreals = ["{RS1}", "{RS2} weight=3"]\n'
    mh = f'udp = "{VIP}:53"\nscheduler = "mh"\nflags = ["mh-port"]\none_packet = true'
    director.apply(service % f'tcp = "{VIP}:80"\nscheduler = "rr"' + service % mh)
    return director


ADDED: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (T, {"port": 80}),
    (("-t", f"{VIP}:0"), {"port": 0}),
    (U, {"protocol": "udp", "port": 53}),
    (("-u", f"{VIP}:1", "-o"), {"protocol": "udp", "port": 1, "one_packet": True}),
    (("-t", f"{VIP}:2", "-s", "wrr"), {"port": 2, "scheduler": "wrr"}),
    (("-t", f"{VIP}:3", "-b", "mh-fallback"), {"port": 3, "flags": ["mh-fallback"]}),
    (
        ("-t", f"{VIP}:4", "-s", "sh", "-b", "sh-port,sh-fallback"),
        {"port": 4, "scheduler": "sh", "flags": ["sh-fallback", "sh-port"]},
    ),
    (
        ("--udp-service", f"{VIP}:5", "--scheduler", "sh", "--sched-flags", "sh-port", "--no-ops"),
        {"protocol": "udp", "port": 5, "scheduler": "sh", "flags": ["sh-port"]},
    ),
    (("--tcp-service", f"{VIP}:6", "--scheduler", "rr"), {"port": 6, "scheduler": "rr"}),
]
UNSAID = {
    "scheduler": "mh",
    "flags": [],
    "owner": "operator",
    "one_packet": False,
    "limit": 0,
    "source_limit": 0,
    "source_cidr": "",
    "reals": [],
    "transition_s": None,
}


def test_service_add(director):
    """What is said is there; else it is mh, without flags, without reals."""
    for argv, _ in ADDED:
        silent(director, "service", "add", *argv)

    expected = [{"protocol": "tcp", "vip": VIP, **UNSAID, **said} for _, said in ADDED]
    for service in expected:
        service["service"] = "{protocol}/{vip}:{port}".format(**service)
    assert expected == director.json("list")


def test_service_add_of_an_absent_vip(director):
    """It is added; a note says that no interface has the VIP, and how one gets it."""
    done = director.try_xdplb("service", "add", "-t", "203.0.113.80:80")

    assert (0, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("note: VIP 203.0.113.80 is on no interface here")
    assert "add it: xdplb vip add 203.0.113.80\n" in done.stderr
    assert ["203.0.113.80"] == [service["vip"] for service in director.json("list")]


EDITED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "scheduler": (("-s", "wrr"), {"scheduler": "wrr", "flags": []}),
    "scheduler and flag": (
        ("-s", "sh", "-b", "sh-port"),
        {"scheduler": "sh", "flags": ["sh-port"]},
    ),
    "flags": (("-b", "mh-fallback"), {"flags": ["mh-fallback"]}),
    "no flags": (("-b", ""), {"flags": []}),
    "not one packet": (("--no-ops",), {"one_packet": False}),
}


@pytest.mark.parametrize("case", EDITED)
def test_service_edit(two, case):
    """What is said changes, and the rest stays; flags go with their scheduler."""
    argv, said = EDITED[case]
    web, dns = two.json("list")

    done = two.try_xdplb("service", "edit", *U, *argv)

    edited = two.json("list")
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert [web, {**dns, **said}] == [{**each, "transition_s": None} for each in edited]


def test_service_del(two):
    """One is gone with its reals, the other is there."""
    silent(two, "service", "del", *T)

    assert {DNS: [(RS1, 1), (RS2, 3)]} == reals(two)


def test_server_add(two):
    """It comes last, of weight 1 unless said, in that service only."""
    silent(two, "server", "add", *T, "-r", RS3)
    silent(two, "server", "add", *T, "-r", "192.168.2.240:80", "-i", "-w", "65535")
    silent(two, "server", "add", *U, "--real-server", RS3, "--weight", "0")

    old = [(RS1, 1), (RS2, 3)]
    assert {WEB: [*old, (RS3, 1), ("192.168.2.240", 65535)], DNS: [*old, (RS3, 0)]} == reals(two)


CHANGES: dict[str, tuple[tuple[str, ...], dict[str, list[tuple[str, int]]]]] = {
    "edit": (("edit", *T, "-w", "7"), {WEB: [(RS1, 1), (RS2, 7)]}),
    "edit in ipvsadm's words": (("edit", *U, "-i", "-w0"), {DNS: [(RS1, 1), (RS2, 0)]}),
    "drain of TCP": (("drain", *T), {WEB: [(RS1, 1), (RS2, 0)]}),
    "drain of UDP": (("drain", *U), {DNS: [(RS1, 1), (RS2, 0)]}),
    "del of TCP": (("del", *T), {WEB: [(RS1, 1)]}),
    "del of UDP": (("del", *U), {DNS: [(RS1, 1)]}),
}


@pytest.mark.parametrize("case", CHANGES)
def test_server_changes(two, case):
    """That real of that service alone."""
    argv, changed = CHANGES[case]
    before = reals(two)

    silent(two, "server", *argv, "-r", RS2)

    assert {**before, **changed} == reals(two)


def test_set(director):
    """Timeouts of TCP, TCP after FIN or RST, UDP; 0 leaves one as it is."""
    silent(director, "set", "100", "60", "30")
    first = director.json("status")["timeouts"]
    silent(director, "set", "0", "0", "300")
    second = director.json("status")["timeouts"]
    silent(director, "set", "900", "120", "0")

    assert {"tcp": 100, "tcpfin": 60, "udp": 30} == first
    assert {"tcp": 100, "tcpfin": 60, "udp": 300} == second
    assert {"tcp": 900, "tcpfin": 120, "udp": 300} == director.json("status")["timeouts"]


@pytest.mark.parametrize(
    ("argv", "left"), [(U, {WEB}), (T, {DNS}), ((), set())], ids=["UDP", "TCP", "all"]
)
def test_zero(two, argv, left):
    """Of one service, its counters and its reals'; of all, those by fate too."""
    two.fetch(2)
    send(two, 3)
    every = counting(two)

    silent(two, "zero", *argv)

    assert ({WEB, DNS}, left) == (every, counting(two))
    assert bool(argv) == ("forwarded" in two.counters())


def test_flush(two):
    """All services go; it says how many there were."""
    said = two.xdplb("flush"), two.xdplb("flush")

    assert ("2 services removed\n", "0 services removed\n") == said
    assert [] == two.json("list")


@pytest.fixture
def configured(director: Lab) -> Iterator[Lab]:
    """A director with the services of a file."""
    piped(director, CONFIGURATION, "apply", "-")
    yield director
    director.xdplb("set", "900", "120", "300")


def test_save_prints_what_was_applied(configured, tmp_path):
    """To its standard output, or into a file."""
    file = tmp_path / "saved.toml"

    silent(configured, "save", str(file))

    saved = f'vips = [\n    "{VIP}",\n]\n\n{CONFIGURATION}'
    assert saved == file.read_text() == configured.xdplb("save")


def test_what_is_saved_is_applied(configured):
    """Applied to a director that was emptied, it makes the same services and timeouts."""
    saved, listed = configured.xdplb("save"), configured.json("list")
    configured.xdplb("flush")
    configured.xdplb("set", "1", "2", "3")

    said = piped(configured, saved, "apply", "-")

    assert listed == configured.json("list")
    assert [WEB, DNS] == [listed[1]["service"], listed[0]["service"]]
    assert {"tcp": 901, "tcpfin": 120, "udp": 300} == configured.json("status")["timeouts"]
    assert 3 == len([line for line in said.splitlines() if line.startswith("+ service")])


def test_apply_says_what_it_changes(configured, tmp_path):
    """One line each; the same file again changes nothing."""
    file = tmp_path / "changed.toml"
    file.write_text(CHANGED)

    first = configured.xdplb("apply", str(file))

    listed = configured.json("list")
    before = listed, files(configured), tables(configured)
    again = configured.xdplb("apply", str(file)), configured.json("apply", str(file))
    assert DIFFERENCE == first
    assert [DNS, WEB, f"tcp/{VIP}:443"] == [service["service"] for service in listed]
    assert ("nothing to change\n", {"dry_run": False, "changes": []}) == again
    assert before == (configured.json("list"), files(configured), tables(configured))


def test_a_dry_run_changes_nothing(configured):
    """It says what `apply` would, and the machine, the files and the tables stay as they are."""
    before = machine(configured), files(configured), tables(configured)

    said = piped(configured, CHANGED, "apply", "-", "--dry-run")
    value = piped(configured, CHANGED, "apply", "-", "--dry-run", "--json")

    assert DIFFERENCE == said
    assert {"dry_run": True, "changes": DIFFERENCE.splitlines()} == json.loads(value)
    assert before == (machine(configured), files(configured), tables(configured))


@pytest.fixture
def other(two: Lab) -> Iterator[str]:
    """Another instance on the same host, on an interface of its own."""
    name = "other"
    sizes = [f"--tune={key}={value}" for key, value in SMALL.items()]
    two.run("lvs", "ip", "link", "add", "ens35", "type", "veth", "peer", "name", "peer35")
    two.xdplb("--instance", name, "attach", "ens35", *sizes)
    yield name
    two.xdplb("--instance", name, "detach", "ens35")
    two.run("lvs", "ip", "link", "delete", "ens35")
    shutil.rmtree(two.state.with_name(two.state.name.replace("default", name)))


def test_two_instances_do_not_meet(two, other):
    """Each lists its own services; program, maps and counters are its own; flush is of one."""
    at = ("--instance", other)
    before = two.json("list")
    two.xdplb(*at, "service", "add", "-t", f"{VIP}:443")
    send(two, 1)

    listed = two.json(*at, "list")
    ours, theirs = two.json("status"), two.json(*at, "status")
    flushed = two.xdplb(*at, "flush")

    assert [f"tcp/{VIP}:443"] == [service["service"] for service in listed]
    assert ("1 service removed\n", before) == (flushed, two.json("list"))
    assert (["ens33"], ["ens35"]) == (list(ours["interfaces"]), list(theirs["interfaces"]))
    assert (1, 0) == (ours["counters"]["forwarded"], theirs["counters"]["forwarded"])
    assert ours["program"]["id"] != theirs["program"]["id"]
    maps = [{each["id"] for each in status["maps"].values()} for status in (ours, theirs)]
    assert set() == maps[0] & maps[1]
