# SPDX-License-Identifier: MIT
"""Paths that are narrower somewhere, packets in fragments, and pings: end to end."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from fivehosts import RS1, Lab

from xdplb.lab import VIP

pytestmark = pytest.mark.root

CLIENT, GATEWAY = "192.168.1.200", "192.168.2.1"
LARGE = 10 << 20
PORT = 5300

# Says of each datagram who got it, and what it was.
SERVER = f"""
import hashlib, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("{VIP}", {PORT}))
print("ready", flush=True)
while True:
    data, client = s.recvfrom(65535)
    s.sendto(NAME + hashlib.sha256(data).digest(), client)
"""
# Each socket's datagrams shall arrive whole, at one real; says how many sockets each real got.
QUESTIONS = f"""
import collections, hashlib, os, socket
reals = collections.Counter()
for _ in range(20):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect(("{VIP}", {PORT}))
    names = set()
    for _ in range(5):
        data = os.urandom(9000)
        s.send(data)
        answer = s.recv(100)
        assert answer[3:] == hashlib.sha256(data).digest()
        names.add(answer[:3].decode())
    (name,) = names
    reals[name] += 1
print(*sorted(reals.items()))
"""


@contextmanager
def host_is(lab: Lab, host: str, does: str, undoes: str) -> Iterator[None]:
    """An `ip` command on a host, taken back at the end with all that was learned of paths."""
    lab.run(host, "ip", *does.split())
    try:
        yield
    finally:
        lab.run(host, "ip", *undoes.split())
        for each in ("client", "route", "lvs", "rs1", "rs2"):
            lab.run(each, "ip", "route", "flush", "cache")


def upload(lab: Lab, path: str) -> str:
    """Upload a file: what the page said, and how much it took."""
    post = ["curl", "-sSf", "-m", "60", "--data-binary", f"@{path}", f"http://{VIP}/upload"]
    return lab.output("client", *post, "-w", "%{size_upload}")


@pytest.mark.parametrize("scheduler", ["mh", "rr"])
def test_download_over_a_narrow_path(director, scheduler):
    """A router on the real's way to the client refuses its segments: the real learns of it."""
    director.balance(scheduler, [RS1])
    narrow = "link set ens33 mtu 1300", "link set ens33 mtu 1500"
    with host_is(director, "route", *narrow):
        curl = ["curl", "-sSf", "-m", "60", "-o", "/dev/null", "-w", "%{size_download}"]
        assert str(LARGE) == director.output("client", *curl, f"http://{VIP}/large")

        assert "mtu 1300" in director.output("rs1", "ip", "route", "get", CLIENT)
    assert not director.counters().keys() - {"forwarded", "forwarded_redirect"}


@pytest.fixture
def around(director, rip):
    """One of rs1's addresses is reached by way of the router, who knows of a narrow link there.

    Each test has another: what is learned of one lives for minutes.
    """
    for scope in ("all", "ens160"):
        director.run("route", "sysctl", "-qw", f"net.ipv4.conf.{scope}.send_redirects=0")
    address = f"address add {rip}/32 dev ens33", f"address del {rip}/32 dev ens33"
    there = f"route add {rip}/32 dev ens160 mtu lock 1400", f"route del {rip}/32"
    way = f"route add {rip}/32 via {GATEWAY}", f"route del {rip}/32"
    with ExitStack() as stack:
        for host, change in (("rs1", address), ("route", there), ("lvs", way)):
            stack.enter_context(host_is(director, host, *change))
        director.xdplb("realserver", "setup", "--vip", VIP, "--decap", "xdp", host="rs1")
        yield director
        director.xdplb("realserver", "teardown", host="rs1")
        director.xdplb("realserver", "setup", "--vip", VIP, host="rs1")
        director.balance(reals=[])


@pytest.mark.parametrize(
    ("tunnel", "added", "rip"),
    [
        ("ipip", 20, "192.168.2.221"),
        ("gre", 24, "192.168.2.222"),
        ("gue", 32, "192.168.2.223"),
    ],
)
def test_upload_over_a_narrow_path(around, tunnel, added, rip, tmp_path):
    """A router on the director's way to the real refuses its tunnel's packets: it learns of it."""
    body = tmp_path / "body"
    body.write_bytes(bytes(LARGE))
    around.balance("mh", [f"{rip} tunnel={tunnel}"])

    assert f"rs1\n{LARGE}" == upload(around, str(body))

    assert f"mtu {1400 - added}" in around.output("client", "ip", "route", "get", VIP)
    assert 0 < around.counters()["replied_too_big"] < 30


@pytest.fixture
def answering(director):
    """A UDP service with a server on each real."""
    director.balance("rr", service=f'udp = "{VIP}:{PORT}"')
    servers = [
        director.start(host, [sys.executable, "-c", f"NAME = {host.encode()}\n{SERVER}"])
        for host in ("rs1", "rs2")
    ]
    for server in servers:
        assert server.stdout.readline() == "ready\n"
    yield director
    for server in servers:
        server.terminate()
        server.communicate()


def test_datagrams_in_fragments_arrive_whole(answering):
    """9,000 bytes in seven pieces, that fit the tunnel: each at one real, its flow's."""
    with host_is(answering, "client", "link set ens33 mtu 1400", "link set ens33 mtu 1500"):
        said = answering.output("client", sys.executable, "-c", QUESTIONS)

    assert "('rs1', 10) ('rs2', 10)\n" == said
    assert {"forwarded": 20 * 5 * 7} == answering.counters()


def test_pings_to_the_vip_are_answered(director):
    """By the director's kernel, which has the address."""
    director.balance("mh")

    director.run("client", "ping", "-c", "2", "-i", "0.2", "-W", "5", VIP)

    assert {"pass_icmp": 2} == director.counters()
