# SPDX-License-Identifier: MIT
"""What the command line shows of a director: list, status, top."""

import contextlib
import json
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict

import pytest
from fivehosts import RS1, RS2, SMALL, XDPLB, Lab
from photo import programs

from xdplb.host import namespaces
from xdplb.lab import VIP
from xdplb.model.tunables import Tunables

pytestmark = pytest.mark.root

WEB, DNS, OPS = f"tcp/{VIP}:80", f"udp/{VIP}:53", f"udp/{VIP}:5353"
# Three services; the second has one real that serves, the last one of each kind of field.
CONFIGURATION = f"""
[[service]]
tcp = "{VIP}:80"
scheduler = "rr"
reals = ["{RS1}", "{RS2}"]

[[service]]
udp = "{VIP}:53"
scheduler = "rr"
reals = ["{RS1}"]

[[service]]
udp = "{VIP}:5353"
scheduler = "mh"
flags = ["mh-port", "mh-fallback"]
one_packet = true
reals = ["{RS1} weight=1000", "{RS2} weight=0"]
"""
LISTED = """\
service → real           scheduler → tunnel               weight
────────────────────────────────────────────────────────────────
tcp/192.168.2.100:80     rr
  → 192.168.2.220          → ipip                              1
  → 192.168.2.210          → ipip                              1
udp/192.168.2.100:53     rr
  → 192.168.2.220          → ipip                              1
udp/192.168.2.100:5353   mh mh-fallback mh-port ops
  → 192.168.2.220          → ipip                           1000
  → 192.168.2.210          → ipip                     0 (drains)
"""
# Sends datagrams to the VIP until it is ended, each from another port.
SEND = """
import socket, sys, time
print("ready", flush=True)
while True:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(bytes(972), (sys.argv[1], 53))
    time.sleep(0.002)
"""


@pytest.fixture(scope="module")
def configured(attached: Lab) -> Lab:
    """A director with these services, which no test changes."""
    attached.apply(CONFIGURATION)
    return attached


@pytest.fixture
def balanced(configured: Lab) -> Lab:
    """All counters at zero."""
    configured.xdplb("zero")
    return configured


def send(lab: Lab, port: int, datagrams: int) -> None:
    """Send datagrams of 1,000 bytes, headers included, from one port of the client to the VIP."""
    with namespaces.entered(f"{lab.name}-client"):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with udp:
        for _ in range(datagrams):
            udp.sendto(bytes(972), (VIP, port))


@contextlib.contextmanager
def traffic(lab: Lab) -> Iterator[None]:
    """Have the client send datagrams to one service meanwhile."""
    sender = lab.start("client", [sys.executable, "-c", SEND, VIP])
    try:
        assert sender.stdout is not None
        assert "ready\n" == sender.stdout.readline()
        yield
    finally:
        sender.kill()
        sender.communicate()


def flowing(services: list[dict]) -> dict[str, bool]:
    """Whether each service has a positive rate in each of its three counts, or in none."""
    found = {}
    for service in services:
        assert {"packets", "bytes", "flows"} == set(service["stats"])
        (found[service["service"]],) = {rate > 0 for rate in service["stats"].values()}
    return found


def test_counters_of_a_service_without_reals(director):
    """They are zero."""
    director.xdplb("service", "add", "-t", f"{VIP}:80")

    (listed,) = director.json("list", "--stats")
    assert {"flows": 0, "packets": 0, "bytes": 0} == listed["stats"]
    assert "0" in director.xdplb("list", "--stats")


def test_list(balanced):
    """A table of services, each with its reals below it, in the order of the configuration."""
    assert LISTED == balanced.xdplb("list")


def test_list_as_json(balanced):
    """Every field of a service and of a real."""
    web, dns, ops = balanced.json("list")

    assert (WEB, DNS) == (web["service"], dns["service"])
    assert {
        "service": OPS,
        "owner": "operator",
        "protocol": "udp",
        "vip": VIP,
        "port": 5353,
        "scheduler": "mh",
        "flags": ["mh-fallback", "mh-port"],
        "one_packet": True,
        "limit": 0,
        "source_limit": 0,
        "source_cidr": "",
        "reals": [
            {"address": RS1, "weight": 1000, "effective_weight": 1000, "tunnel": "ipip"},
            {"address": RS2, "weight": 0, "effective_weight": 0, "tunnel": "ipip"},
        ],
        "transition_s": None,
    } == ops


@pytest.mark.parametrize("view", [(), ("--stats",), ("--flows",)], ids="".join)
def test_list_of_one_service(balanced, view):
    """The others are not shown, though there is something to show."""
    balanced.fetch(1)
    send(balanced, 53, 1)

    listed = balanced.json("list", "-u", f"{VIP}:53", *view)

    assert [DNS] == [each["service"] for each in listed]


def test_stats(balanced):
    """A service has the sum of its reals; a datagram counts as many bytes as its IP header says."""
    pages = balanced.fetch(3)
    send(balanced, 53, 5)

    web, dns, ops = balanced.json("list", "--stats")

    assert {"flows": 1, "packets": 5, "bytes": 5000} == dns["stats"] == dns["reals"][0]["stats"]
    assert {"flows": 0, "packets": 0, "bytes": 0} == ops["stats"]
    rs1, rs2 = (real["stats"] for real in web["reals"])
    assert {name: rs1[name] + rs2[name] for name in rs1} == web["stats"]
    assert [pages.count("rs1"), pages.count("rs2")] == [rs1["flows"], rs2["flows"]]
    assert all(3 * name["flows"] < name["packets"] < name["bytes"] / 40 for name in (rs1, rs2))


def test_stats_as_a_table(balanced):
    """The columns of `list`, and the counts."""
    send(balanced, 53, 5)

    head, _, *rows = balanced.xdplb("list", "--stats").splitlines()

    assert [*LISTED.split()[:7], "flows", "packets", "bytes"] == head.split()
    assert ["→", RS1, "→", "ipip", "1", "1", "5", "5,000"] == rows[4].split()
    assert ["→", RS2, "→", "ipip", "0", "(drains)", "0", "0", "0"] == rows[7].split()


def test_rate(balanced):
    """A service that is in use has flows, packets and bytes a second; those that were have none."""
    balanced.fetch(2)
    with traffic(balanced):
        services = balanced.json("list", "--rate")

    assert {WEB: False, DNS: True, OPS: False} == flowing(services)
    assert services[1]["stats"] == services[1]["reals"][0]["stats"]


def test_rate_as_a_table(balanced):
    """The columns of `list`, and counts a second."""
    balanced.fetch(2)
    with traffic(balanced):
        head, _, *rows = balanced.xdplb("list", "--rate").splitlines()

    assert ["flows/s", "packets/s", "bytes/s"] == head.split()[-3:]
    assert ["0", "0", "0"] == rows[0].split()[-3:]
    assert re.fullmatch(rf"{DNS} +rr( +[1-9][\d,]*){{3}}", rows[3])


def test_flows(balanced):
    """Recorded flows by service, real and state: of TCP new, established, closing, and of UDP."""
    balanced.xdplb("flush")
    balanced.apply(CONFIGURATION)
    balanced.fetch(2)
    send(balanced, 53, 1)
    send(balanced, 53, 2)
    send(balanced, 5353, 1)  # by itself: it is not recorded
    with namespaces.entered(f"{balanced.name}-client"):
        connection = socket.create_connection((VIP, 80), timeout=10)

    with connection:
        flows = balanced.json("list", "--flows")
        head, _, *rows = balanced.xdplb("list", "--flows").splitlines()

    expected = [
        (WEB, RS2, "closing", 1),
        (WEB, RS2, "established", 1),
        (WEB, RS1, "closing", 1),
        (DNS, RS1, "udp", 1),
        (DNS, RS1, "udp new", 1),
    ]
    assert expected == sorted(tuple(flow.values()) for flow in flows)
    assert ["service", "real", "state", "flows"] == list(flows[0]) == head.split()
    assert [[str(value) for value in flow.values()] for flow in flows] == [
        re.split(" {3,}", row) for row in rows
    ]


def test_status_names_program_maps_and_links(balanced):
    """What is at each path has that id, as bpftool says; and that program is what ens33 runs."""
    status = balanced.json("status")

    def pinned(kind: str, path: str) -> dict:
        return balanced.value("lvs", "bpftool", "-j", kind, "show", "pinned", path)

    program, maps = status["program"]["id"], status["maps"]
    assert program == pinned("prog", status["program"]["path"])["id"]
    assert program == pinned("link", status["interfaces"]["ens33"]["link"])["prog_id"]
    assert {"ens33": ("driver", program)} == programs(balanced)
    found = {name: pinned("map", about["path"]) for name, about in maps.items()}
    assert {n: (n, about["id"]) for n, about in maps.items()} == {
        name: (each["name"], each["id"]) for name, each in found.items()
    }
    used = pinned("prog", status["program"]["path"])["map_ids"]
    others = ("ring", "fragments")  # a template; the rare packets' program's
    assert set(used) == {about["id"] for name, about in maps.items() if name not in others}


def test_status_tells_what_is_in_force(balanced):
    """Interfaces, sizes, timeouts, VIPs, how many services and reals, and counters."""
    send(balanced, 53, 5)
    send(balanced, 54, 1)

    status = balanced.json("status")

    assert (balanced.instance.name, ["ens33"]) == (status["instance"], list(status["interfaces"]))
    assert ("native", [VIP]) == tuple(status["interfaces"]["ens33"].values())[:2]
    assert asdict(Tunables(**SMALL)) == status["tunables"]
    assert {"tcp": 900, "tcpfin": 120, "udp": 300} == status["timeouts"]
    assert ([VIP], 3, 5) == (status["vips"], status["services"], status["reals"])
    assert {"forwarded": 5, "pass_no_service": 1} == balanced.counters()


def test_status_as_a_table(balanced):
    """The same for people; counters that are 0 are left out."""
    send(balanced, 53, 1500)
    program = balanced.json("status")["program"]

    lines = balanced.xdplb("status").splitlines()

    assert lines[:4] == [
        f"instance {balanced.instance.name}: program {program['id']} at {program['path']}",
        f"services 3, reals 5, prefixes denied 0, VIPs {VIP}",
        "timeouts (s): tcp 900, tcpfin 120, udp 300",
        "",
    ]
    assert ["ens33", "native", VIP] == lines[6].split()
    assert ["forwarded", "1,500"] == lines[10].split()
    assert {"pass_not_ip"} >= {line.split()[0] for line in lines[11:]}  # ARP, if any


def test_top_as_json(balanced):
    """Each update is a line: what `list --rate` says, and counters a second."""
    balanced.fetch(2)
    with traffic(balanced):
        one = balanced.xdplb("top", "--json", "-n", "0.3")
        two = balanced.xdplb("top", "--json", "-n", "0.3", "--count", "2", "-u", f"{VIP}:53")

    (every,), only = ([json.loads(line) for line in text.splitlines()] for text in (one, two))
    assert [{DNS: True}, {DNS: True}] == [flowing(update["services"]) for update in only]
    assert {WEB: False, DNS: True, OPS: False} == flowing(every["services"])
    assert set(balanced.json("status")["counters"]) == set(every["counters"])
    assert {"forwarded"} == {name for name, rate in every["counters"].items() if rate} - {
        "pass_not_ip"
    }


def test_top_into_a_pipe(balanced):
    """One update below the other, as wide as they are: nothing is cut, nothing painted over."""
    with traffic(balanced):
        text = balanced.xdplb("top", "-n", "0.3", "--count", "2")

    assert 2 == len(
        re.findall(rf"^{balanced.instance.name} \d\d:\d\d:\d\d, a second +packets$", text, re.M)
    )
    assert 2 == len(re.findall(r"^forwarded +[1-9][\d,]*$", text, re.M))
    assert 2 == len(re.findall(rf"^{DNS} +rr( +[1-9][\d,]*){{3}}$", text, re.M))
    assert "\x1b" not in text


def test_top_on_a_terminal(balanced):
    """It takes the screen, and gives it back; 80 columns hold the rates."""
    command = f"stty cols 80 rows 24; {XDPLB} top -n 0.3 --count 1 -u {VIP}:53"
    with traffic(balanced):
        text = balanced.output("lvs", "script", "-qec", command, "/dev/null")

    _, taken, rest = text.partition("\x1b[?1049h")
    shown, given, _ = rest.partition("\x1b[?1049l")
    assert taken and given
    assert re.search(rf"{DNS} +rr( +[1-9][\d,]*){{3}} *\r?\n", shown)
