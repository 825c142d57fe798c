# SPDX-License-Identifier: MIT
"""Packets in fragments, pings and traceroute: end to end, in both families.

(Paths that are narrower somewhere: test_narrow.py.)
"""

import sys

import pytest
from dualstack import both_families, meanwhile

pytestmark = [pytest.mark.root, both_families]

PORT = 5300

# Says of each datagram who got it, and what it was.
SERVER = """
import hashlib, socket, sys
name, address, port = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((address, int(port)))
print("ready", flush=True)
while True:
    data, client = s.recvfrom(65535)
    s.sendto(name.encode() + hashlib.sha256(data).digest(), client)
"""
# Each socket's datagrams shall arrive whole, at one real; says how many sockets each real got.
QUESTIONS = """
import collections, hashlib, os, socket, sys
address, port = sys.argv[1:]
reals = collections.Counter()
for _ in range(20):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((address, int(port)))
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
DISCOVERY = {"pass_icmp", "pass_not_vip"}  # of neighbours: it counts here in IPv6 only


@pytest.fixture
def answering(dual, family):
    """A UDP service with a server on each real, and one of web pages."""
    reals = [family.rs1, family.rs2]
    web = f'[[service]]\ntcp = "{family.at(80)}"\nscheduler = "rr"\nreals = {reals}'
    dual.balance("rr", reals, f'udp = "{family.at(PORT)}"', web)
    servers = [
        dual.start(host, [sys.executable, "-c", SERVER, host, family.vip, str(PORT)])
        for host in ("rs1", "rs2")
    ]
    for server in servers:
        assert "ready\n" == server.stdout.readline()
    yield dual
    for server in servers:
        server.terminate()
        server.communicate()


def test_datagrams_in_fragments_arrive_whole(answering, family):
    """9,000 bytes in seven pieces, that fit the tunnel: each at one real, its flow's."""
    cut = (f"ip link set ens33 mtu {mtu}" for mtu in (1400, 1500))
    with meanwhile(answering, "client", *cut):
        asked = [sys.executable, "-c", QUESTIONS, family.vip, str(PORT)]
        said = answering.output("client", *asked)

    counted = answering.counters()
    assert "('rs1', 10) ('rs2', 10)\n" == said
    assert 20 * 5 * 7 == counted["forwarded"]
    assert {"forwarded"} == counted.keys() - DISCOVERY


def test_pings_to_the_vip_are_answered(dual, family):
    """By the director's kernel, which has the address."""
    dual.balance("mh", (family.rs1,), f'tcp = "{family.at(80)}"')

    said = dual.output("client", "ping", "-c", "2", "-i", "0.2", "-W", "5", family.vip)

    counted = dual.counters()
    assert "2 packets transmitted, 2 received" in said
    assert counted["pass_icmp"] >= 2
    assert set() == counted.keys() - DISCOVERY


@pytest.mark.parametrize("probes", [f"-U -p {PORT}", "-U -p 9", "-T -p 80", "-T -p 9", "-I"])
def test_traceroute_ends_at_the_vip(answering, family, probes):
    """Behind the router is the VIP, and nothing more. The director's kernel answers for it: the
    probe that gets here has a TTL of 1 left, and is not forwarded, be there a service or not. It
    answers as the VIP's host (port unreachable, a reset, an echo), not as a router on the way.
    """
    assert [(1, family.router), (2, family.vip)] == traced(answering, family, probes)

    counted = answering.counters().keys()
    assert counted & {"pass_ttl", "pass_icmp"}
    assert set() == counted - {"pass_ttl"} - DISCOVERY


@pytest.mark.parametrize("probes", [f"-U -p {PORT}", "-T -p 80"])
def test_probes_that_get_further_are_answered_by_the_real(answering, family, probes):
    """With a TTL of 3 at the client they go through the tunnel: the real has the VIP, too."""
    assert [(3, family.vip)] == traced(answering, family, f"{probes} -f 3")

    assert {"forwarded"} == answering.counters().keys() - DISCOVERY


def traced(lab, family, options):
    """What traceroute shows: hops and who answered. One probe each, and the next one after it."""
    one_by_one = "-n -q 1 -N 1 -w 5 -m 4"
    command = ["traceroute", *one_by_one.split(), *options.split(), family.vip]
    _, *hops = lab.output("client", *command).splitlines()
    return [(int(hop.split()[0]), hop.split()[1]) for hop in hops]
