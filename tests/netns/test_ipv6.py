# SPDX-License-Identifier: MIT
"""The reference case over IPv6, and with one family in the other, end to end."""

import json
import subprocess
import sys
from ipaddress import ip_network

import pytest
from dualstack import CLIENT6, RS1_6, RS2_6, VIP6
from fivehosts import RS1, RS2

from xdplb import lab as labs
from xdplb.lab import VIP

pytestmark = pytest.mark.root

SERVICE6 = f"[{VIP6}]:80"
URL6 = f"http://[{VIP6}]/"

COUNT_REPLIES = f"""
table bridge count {{
    counter by_rs1 {{}}
    counter by_rs2 {{}}
    counter by_lvs {{}}
    counter to_lvs {{}}
    chain passing {{
        type filter hook forward priority 0;
        ip6 saddr {VIP6} iifname "rs1" counter name by_rs1
        ip6 saddr {VIP6} iifname "rs2" counter name by_rs2
        ip6 saddr {VIP6} tcp sport 80 iifname "lvs" counter name by_lvs
        ip6 saddr {VIP6} tcp sport 80 oifname "lvs" counter name to_lvs
    }}
}}
"""

# Answers a datagram with the host's name.
UDP_SERVER = """
import socket, sys
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 5353))
print("ready", flush=True)
while True:
    said, client = server.recvfrom(2048)
    server.sendto(sys.argv[2].encode() + b" heard " + said, client)
"""
UDP_CLIENT = """
import socket, sys
client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
client.settimeout(3)
for number in range(3):
    client.sendto(str(number).encode(), (sys.argv[1], 5353))
    print(client.recv(2048).decode())
"""


@pytest.fixture
def director(dual):
    return dual


def test_four_requests_are_served_by_turns(director):
    """rs2 rs1 rs2 rs1, by the commands of the reference case."""
    director.xdplb("service", "add", "-t", SERVICE6, "-s", "rr")
    director.xdplb("server", "add", "-t", SERVICE6, "-r", RS1_6)
    director.xdplb("server", "add", "-t", SERVICE6, "-r", f"[{RS2_6}]:80", "-i")

    assert ["rs2", "rs1", "rs2", "rs1"] == director.fetch(4, URL6)
    assert {"forwarded"} == director.counters().keys() - {"pass_not_vip", "pass_icmp"}
    [listed] = director.json("list", "--stats")
    assert [2, 2] == [real["stats"]["flows"] for real in listed["reals"]]


@pytest.mark.parametrize("tunnel", ["ipip", "gre", "gre+csum", "gue:6080", "gue:6080+csum"])
@pytest.mark.parametrize(
    ("service", "url", "reals"),
    [
        (f'tcp = "{SERVICE6}"', URL6, (RS1_6, RS2_6)),
        (f'tcp = "{SERVICE6}"', URL6, (RS1, RS2)),
        (f'tcp = "{VIP}:80"', f"http://{VIP}/", (RS1_6, RS2_6)),
        (f'tcp = "{SERVICE6}"', URL6, (RS1_6, RS2)),
        (f'tcp = "{VIP}:80"', f"http://{VIP}/", (RS1, RS2_6)),
    ],
    ids=["6in6", "6in4", "4in6", "6 in both", "4 in both"],
)
def test_families_mix(director, service, url, reals, tunnel):
    """A VIP of either family, reals of either, even both in one service; each in any tunnel."""
    director.balance("rr", [f"{real} tunnel={tunnel}" for real in reals], service)

    assert ["rs2", "rs1"] == director.fetch(2, url)


def test_no_reply_crosses_the_director(director):
    """10 MiB come from each real, and of them not a packet passes the director's port."""
    director.balance("rr", (RS1_6, RS2_6), f'tcp = "{SERVICE6}"')
    count = labs.command(director.name, "net2", ["nft", "-f", "-"])
    subprocess.run(count, input=COUNT_REPLIES, text=True, check=True)

    for _ in range(2):
        director.run("client", "curl", "-sSf", "-o", "/dev/null", f"{URL6}large")

    listed = json.loads(director.output("net2", "nft", "-j", "list", "counters"))["nftables"]
    replies = {c["counter"]["name"]: c["counter"]["packets"] for c in listed if "counter" in c}
    director.run("net2", "nft", "delete", "table", "bridge", "count")
    assert (0, 0) == (replies["by_lvs"], replies["to_lvs"])
    assert replies["by_rs1"] > 7000
    assert replies["by_rs2"] > 7000


@pytest.mark.parametrize("reals", [(RS1_6, RS2_6), (RS1, RS2)], ids=["6in6", "6in4"])
@pytest.mark.parametrize("scheduler", ["rr", "mh"])
def test_an_upload_arrives_whole(director, tmp_path, scheduler, reals):
    """20 MB are complete: full segments have room for the tunnel, and nothing is told by ICMP."""
    director.balance(scheduler, reals, f'tcp = "{SERVICE6}"')
    body = tmp_path / "body"
    body.write_bytes(bytes(20_000_000))
    options = ["--data-binary", f"@{body}", "-w", "%{size_upload}", f"{URL6}upload"]

    said = director.output("client", "curl", "-sSf", "-m", "60", *options)

    assert said in ("rs1\n20000000", "rs2\n20000000")
    assert "replied_too_big" not in director.counters()


def test_full_segments_learn_the_tunnel_s_room(director, tmp_path):
    """A real that does not ask for less: packet too big says it, and the upload is complete."""
    director.balance("rr", (RS1_6,), f'tcp = "{SERVICE6}"')
    director.run("rs1", "nft", "flush chain inet xdplb_realserver mss")
    body = tmp_path / "body"
    body.write_bytes(bytes(2_000_000))
    options = ["--data-binary", f"@{body}", "-w", "%{size_upload}", f"{URL6}upload"]

    said = director.output("client", "curl", "-sSf", "-m", "60", *options)
    told = director.value("client", "ip", "-json", "-6", "route", "get", VIP6)
    director.xdplb("realserver", "setup", "--vip", VIP6, host="rs1")
    director.run("client", "ip", "-6", "route", "flush", "cache")

    assert "rs1\n2000000" == said
    assert 1460 == told[0]["metrics"][0]["mtu"]
    assert director.counters()["replied_too_big"] > 0


def test_datagrams_of_a_flow_keep_to_one_real(director):
    """UDP over IPv6, as over IPv4."""
    director.balance("rr", (RS1_6, RS2_6), f'udp = "[{VIP6}]:5353"')
    command = [sys.executable, "-c"]
    hosts = ("rs1", "rs2")
    servers = [director.start(host, [*command, UDP_SERVER, VIP6, host]) for host in hosts]
    try:
        for server in servers:
            assert "ready\n" == server.stdout.readline()
        said = [director.output("client", *command, UDP_CLIENT, VIP6) for _ in range(2)]
    finally:
        for server in servers:
            server.kill()
            server.wait()

    expected = {"".join(f"{host} heard {n}\n" for n in range(3)) for host in hosts}
    assert expected == set(said)


def test_the_director_alone_answers_for_the_vip(director):
    """All three have it; a router that asks (neighbour solicitation) hears of one MAC."""
    [lvs] = director.value("lvs", "ip", "-json", "link", "show", "dev", "ens33")
    ask = ["ping", "-6", "-c1", "-W2", VIP6]
    for _ in range(5):
        director.run("route", "ip", "neighbour", "flush", "dev", "ens160")
        director.run("route", *ask)
        [found] = director.value("route", "ip", "-json", "neighbour", "show", VIP6)
        assert lvs["address"] == found["lladdr"]


def test_a_denied_prefix_and_a_source_limit_hold(director):
    """The client's /64 is denied; then its address may begin two flows a second."""
    director.balance("rr", (RS1_6, RS2_6), f'tcp = "{SERVICE6}"')
    curl = ["curl", "-sS", "-m", "1", URL6]
    prefix = str(ip_network(f"{CLIENT6}/64", strict=False))
    director.xdplb("deny", "add", prefix)
    refused = director.run("client", *curl, check=False).returncode
    director.xdplb("deny", "del", prefix)
    director.xdplb("service", "edit", "-t", SERVICE6, "--source-limit", "2")
    for _ in range(8):
        director.run("client", "curl", "-sS", "-m", "0.05", URL6, check=False)
    counted = director.counters()

    assert refused != 0
    assert counted["drop_denied"] >= 1
    assert counted["drop_source_limited"] >= 1
