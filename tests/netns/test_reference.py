# SPDX-License-Identifier: MIT
"""The reference case, end to end, by the commands that a user would type."""

import json
import subprocess
import sys

import pytest
from fivehosts import RS1, RS2

from xdplb import lab as labs
from xdplb.lab import VIP

pytestmark = pytest.mark.root

SERVICE = f"{VIP}:80"
UDP = f'udp = "{VIP}:5353"'

# Answers each datagram with the host's name, from the address that it was sent to.
UDP_ECHO = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 5353))
print("ready", flush=True)
while True:
    _, client = server.recvfrom(2048)
    server.sendto(sys.argv[2].encode(), client)
"""

# Sends so many datagrams from each of so many ports, one after the other; prints who answered.
UDP_ASK = """
import socket, sys
for _ in range(int(sys.argv[2])):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(3)
    for _ in range(int(sys.argv[3])):
        client.sendto(b"who", (sys.argv[1], 5353))
        print(client.recv(2048).decode())
"""

# Counts replies, which have the VIP as their source, by the port of the network that they pass.
COUNT_REPLIES = f"""
table bridge count {{
    counter by_rs1 {{}}
    counter by_rs2 {{}}
    counter by_lvs {{}}
    counter to_lvs {{}}
    chain passing {{
        type filter hook forward priority 0;
        ip saddr {VIP} iifname "rs1" counter name by_rs1
        ip saddr {VIP} iifname "rs2" counter name by_rs2
        ip saddr {VIP} iifname "lvs" counter name by_lvs
        ip saddr {VIP} oifname "lvs" counter name to_lvs
    }}
}}
"""


@pytest.fixture
def balanced(director):
    """The reference case, served by turns."""
    director.balance("rr")
    return director


@pytest.fixture
def udp_echo(cluster):
    """A server on rs1 and rs2 that answers datagrams with the host's name."""
    hosts = ("rs1", "rs2")
    servers = [cluster.start(host, [sys.executable, "-c", UDP_ECHO, VIP, host]) for host in hosts]
    for server in servers:
        assert "ready\n" == server.stdout.readline()
    yield
    for server in servers:
        server.kill()
        server.wait()


def ask(lab, ports: int, times: int) -> list[str]:
    """Send datagrams to the VIP, so many from each of so many ports: who answered."""
    argv = [sys.executable, "-c", UDP_ASK, VIP, str(ports), str(times)]
    return lab.output("client", *argv).split()


def upload(lab, tmp_path, size: int) -> str:
    """POST so many bytes to the VIP: who answered, and how many were sent."""
    body = tmp_path / "body"
    body.write_bytes(bytes(size))
    options = ["--data-binary", f"@{body}", "-w", "%{size_upload}", f"http://{VIP}/upload"]
    return lab.output("client", "curl", "-sSf", "-m", "60", *options)


def test_four_requests_are_served_by_turns(cluster):
    """rs2 rs1 rs2 rs1: as IPVS's rr, which begins with the real that was added last."""
    cluster.xdplb("attach", "ens33", "--vip", VIP)
    cluster.xdplb("service", "add", "-t", SERVICE, "-s", "rr")
    cluster.xdplb("server", "add", "-t", SERVICE, "-r", RS1)
    cluster.xdplb("server", "add", "-t", SERVICE, "-r", f"{RS2}:80", "-i")

    pages = cluster.fetch(4)

    cluster.xdplb("detach", "ens33")
    assert ["rs2", "rs1", "rs2", "rs1"] == pages


def test_no_reply_crosses_the_director(balanced):
    """10 MiB come from each real, and of them not a packet passes the director's port."""
    count = labs.command(balanced.name, "net2", ["nft", "-f", "-"])
    subprocess.run(count, input=COUNT_REPLIES, text=True, check=True)
    before = labs.counters(balanced.name, "lvs", "ens33")

    for _ in range(2):
        balanced.run("client", "curl", "-sSf", "-o", "/dev/null", f"http://{VIP}/large")

    passed = labs.counters(balanced.name, "lvs", "ens33") - before
    listed = json.loads(balanced.output("net2", "nft", "-j", "list", "counters"))["nftables"]
    replies = {c["counter"]["name"]: c["counter"]["packets"] for c in listed if "counter" in c}
    balanced.run("net2", "nft", "delete", "table", "bridge", "count")
    assert (0, 0) == (replies["by_lvs"], replies["to_lvs"])
    assert replies["by_rs1"] > 7000
    assert replies["by_rs2"] > 7000
    assert passed.rx_bytes < 2 << 20  # the client's acknowledgements
    assert passed.tx_bytes < 2 << 20  # the same, wrapped


def test_a_large_page_arrives_whole(balanced):
    """A download of 10 MiB is complete."""
    argv = ["curl", "-sSf", "-o", "/dev/null", "-w", "%{size_download}", f"http://{VIP}/large"]

    assert str(10 << 20) == balanced.output("client", *argv)


@pytest.mark.parametrize("scheduler", ["rr", "mh"])
def test_an_upload_arrives_whole(director, tmp_path, scheduler):
    """An upload of 20 MB is complete: full segments have room for the tunnel's header."""
    director.balance(scheduler)

    assert upload(director, tmp_path, 20_000_000) in ("rs1\n20000000", "rs2\n20000000")


def test_packets_that_do_not_fit_are_answered(director, tmp_path):
    """Where a real asks for no smaller segments, ICMP tells the client: the upload is complete."""
    director.run("rs1", "nft", "flush", "chain", "inet", "xdplb_realserver", "mss")
    director.balance("rr", [RS1])

    answer = upload(director, tmp_path, 1_000_000)

    director.run("client", "ip", "route", "flush", "cache")
    director.xdplb("realserver", "setup", "--vip", VIP, host="rs1")
    assert "rs1\n1000000" == answer
    assert director.counters()["replied_too_big"] > 0


def test_udp_flows_are_served_by_turns_and_stay(director, udp_echo):
    """Each client port has its real, by turns, and keeps it."""
    director.balance("rr", service=UDP)

    assert ["rs2", "rs2", "rs1", "rs1", "rs2", "rs2", "rs1", "rs1"] == ask(director, 4, 2)


def test_udp_packets_are_served_by_turns_one_by_one(director, udp_echo):
    """With one_packet each datagram of one client port has its turn."""
    director.balance("rr", service=UDP, more="one_packet = true")

    assert ["rs2", "rs1", "rs2", "rs1"] == ask(director, 1, 4)


def test_a_service_of_any_port_serves_what_others_leave(director, udp_echo):
    """Port 0 is any port: a service on the very port goes before it."""
    any_port = f'[[service]]\n%s = "{VIP}:0"\nscheduler = "rr"\nreals = ["{RS1}"]\n'
    one_port = f'[[service]]\ntcp = "{VIP}:80"\nscheduler = "rr"\nreals = ["{RS2}"]\n'
    director.apply(any_port % "udp" + any_port % "tcp" + one_port)

    assert (["rs1", "rs1"], ["rs2"]) == (ask(director, 2, 1), director.fetch())


def test_what_is_for_no_service_is_the_directors(balanced):
    """The VIP answers pings, and a port without a service refuses: the kernel's own doing."""
    ping = balanced.run("client", "ping", "-c2", "-W2", VIP)
    refused = balanced.run("client", "curl", "-sS", f"http://{VIP}:81/", check=False)

    assert "2 received" in ping.stdout
    assert 7 == refused.returncode  # curl: connection refused
    assert {"pass_icmp": 2, "pass_no_service": 1} == balanced.counters()
