# SPDX-License-Identifier: MIT
"""A SYN flood of spoofed sources breaks no live connection, with limits or without."""

import random
import socket
import struct
import threading
import time

import pytest
from fivehosts import Lab
from load import end_wrk, start_wrk

from xdplb.host import namespaces
from xdplb.lab import VIP

pytestmark = [pytest.mark.root, pytest.mark.slow]

SYNS = 400_000
FLOW_BUCKETS = 1024  # of 8 flows: the flood fills them fifty times
ETH_P_ALL = 3
DROPPED = {"limit": "drop_limited", "source_limit": "drop_source_limited"}


def mac(lab: Lab, host: str, ifname: str) -> bytes:
    """The MAC address of a host's interface."""
    (link,) = lab.value(host, "ip", "-json", "link", "show", ifname)
    return bytes.fromhex(link["address"].replace(":", ""))


def syns(head: bytes, count: int) -> "list[bytes]":
    """SYNs to the VIP from sources at random, as frames.

    Their checksums are wrong on purpose: a real drops them, as it would not have its own queues
    tried here. The director does not look.
    """
    vip = socket.inet_aton(VIP)
    tcp = struct.pack("!HHIIBBHHH", 0, 80, 1, 0, 5 << 4, 0x02, 1024, 0, 0)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0)
    source = random.Random(7)
    return [
        head
        + ip
        + struct.pack("!I", source.randrange(1 << 24, 0xDF << 24))
        + vip
        + source.randbytes(2)
        + tcp[2:]
        for _ in range(count)
    ]


def flood(lab: Lab, frames: "list[bytes]") -> None:
    """Send frames from the route host to the director, as they are."""
    with namespaces.entered(f"{lab.name}-route"):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sender.bind(("ens160", 0))
    for frame in frames:
        sender.send(frame)
    sender.close()


@pytest.mark.parametrize("scheduler", ["rr", "mh"])
def test_a_syn_flood_breaks_no_connection(cluster, scheduler):
    """Connections that got beyond their SYN go on, busy ones and silent ones."""
    cluster.attach(flow_buckets=FLOW_BUCKETS)
    cluster.balance(scheduler)
    head = mac(cluster, "lvs", "ens33") + mac(cluster, "route", "ens160") + b"\x08\x00"
    frames = syns(head, SYNS)
    with namespaces.entered(f"{cluster.name}-client"):
        silent = [socket.create_connection((VIP, 80), timeout=5) for _ in range(50)]
    for connection in silent:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: vip\r\n")
    busy = start_wrk(cluster, 15, 16)
    time.sleep(1)
    cluster.xdplb("zero")

    flooding = threading.Thread(target=flood, args=(cluster, frames))
    flooding.start()
    flooding.join()
    assert busy.poll() is None  # the load outlasts the flood

    answers = []
    for connection in silent:
        connection.sendall(b"Connection: close\r\n\r\n")
        answers.append(connection.recv(4096)[:15])
        connection.close()
    (service,) = cluster.json("list", "--stats")
    load = end_wrk(busy)
    cluster.xdplb("detach", "ens33")
    assert [b"HTTP/1.1 200 OK"] * len(silent) == answers
    assert "" == load.errors
    # Enough of them came and were balanced to fill the table many times; a busy machine drops some.
    assert service["stats"]["flows"] >= SYNS / 2


@pytest.mark.parametrize("scheduler", ["rr", "mh"])
@pytest.mark.parametrize("kind", DROPPED)
def test_a_limited_flood_breaks_no_connection(cluster, scheduler, kind):
    """Most of the flood is dropped at the director; what had begun goes on, and ends well."""
    cluster.attach(source_tallies=2)  # all sources share two: so few spoofed ones are too many
    cluster.balance(scheduler)
    head = mac(cluster, "lvs", "ens33") + mac(cluster, "route", "ens160") + b"\x08\x00"
    frames = syns(head, SYNS // 4)
    with namespaces.entered(f"{cluster.name}-client"):
        silent = [socket.create_connection((VIP, 80), timeout=5) for _ in range(50)]
    for connection in silent:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: vip\r\n")
    argv = ["curl", "-sS", "--limit-rate", "2M", "-m", "60", f"http://{VIP}/large"]
    download = cluster.start("client", argv)
    time.sleep(0.5)
    cluster.xdplb("service", "edit", "-t", f"{VIP}:80", f"--{kind.replace('_', '-')}", "10")
    cluster.xdplb("zero")

    flood(cluster, frames)

    answers = []
    for connection in silent:
        connection.sendall(b"Connection: close\r\n\r\n")
        answers.append(connection.recv(4096)[:15])
        connection.close()
    size = len(download.communicate(timeout=60)[0])
    counted = cluster.counters()
    cluster.xdplb("detach", "ens33")
    assert [b"HTTP/1.1 200 OK"] * len(silent) == answers
    assert 10 << 20 == size
    assert counted[DROPPED[kind]] > len(frames) / 2  # a busy machine drops some before
