# SPDX-License-Identifier: MIT
"""Clients are served by a real server that was set up, without any director of ours.

In its place, a few lines of Python wrap what the client sends, and refuse what does not fit.
"""

import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from xdplb.host import namespaces
from xdplb.lab import names
from xdplb.model.address import parse_address
from xdplb.realserver import setup
from xdplb.realserver.host import Host

pytestmark = pytest.mark.root

VIP, RIP, DIP = "192.168.2.100", "192.168.2.220", "192.168.2.200"
MTU, OUTER = 1500, 20


class Director(threading.Thread):
    """Wraps packets for the VIP, as IPVS does, but says nothing about those that do not fit."""

    def __init__(self, namespace: str) -> None:
        super().__init__()
        with namespaces.entered(namespace):
            self.client_side = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
            self.client_side.bind(("ens33", 0x0800))
            self.real_side = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IPIP)
        self.client_side.settimeout(0.1)
        self.real_side.bind((DIP, 0))
        self.ended = threading.Event()
        self.wrapped = self.too_big = 0

    def run(self) -> None:
        """Wrap until the end."""
        while not self.ended.is_set():
            try:
                packet, sender = self.client_side.recvfrom(1 << 16)
            except TimeoutError:
                continue
            packet = packet[: int.from_bytes(packet[2:4], "big")]  # without Ethernet's padding
            if sender[2] == socket.PACKET_OUTGOING or packet[16:20] != socket.inet_aton(VIP):
                continue
            if len(packet) + OUTER > MTU:
                self.too_big += 1
            else:
                self.real_side.sendto(packet, (RIP, 0))
                self.wrapped += 1

    def end(self) -> None:
        """Stop wrapping."""
        self.ended.set()
        self.join()
        self.client_side.close()
        self.real_side.close()


@pytest.fixture
def director(lab) -> Iterator[Director]:
    """The lab's director: it answers ARP for the VIP, and hides the VIP from its own stack."""
    lab.run("lvs", "ip", "address", "add", f"{VIP}/32", "dev", "ens33")
    rules = "add table ip t; add chain ip t c { type filter hook input priority 0; }; "
    lab.run("lvs", "nft", f"{rules} add rule ip t c ip daddr {VIP} drop")
    thread = Director(names.namespace_of(lab.name, "lvs"))
    thread.start()
    yield thread
    thread.end()


@pytest.fixture
def rs1(lab) -> Iterator[Host]:
    """A web server in the lab, set up as a real server of the VIP."""
    lab.start_web()
    host = Host(netns=names.namespace_of(lab.name, "rs1"))
    setup.setup(host, [parse_address(VIP)], [parse_address(DIP)])
    yield host
    setup.teardown(host)


def upload(lab, size: int) -> "subprocess.CompletedProcess[str]":
    """Send a body of `size` bytes to the VIP."""
    command = f"head -c {size} /dev/zero | curl -sf -m 5 --data-binary @- http://{VIP}/upload"
    return lab.run("client", "sh", "-c", command, check=False)


def test_client_is_answered_from_the_vip(lab, director, rs1):
    """A page comes back from the VIP, and each packet that was wrapped was unwrapped."""
    page = lab.output("client", "curl", "-sf", "-m", "5", f"http://{VIP}/")

    assert page == "rs1\n"
    director.end()
    assert [one["decapsulated"] for one in setup.counters(rs1).values()] in (
        [director.wrapped],
        [],  # tunl0 unwraps
    )


def test_upload_leaves_room_for_the_tunnel(lab, director, rs1):
    """No segment is too big to be wrapped, even where nobody says what is."""
    assert upload(lab, 1_000_000).stdout == "rs1\n"
    assert director.too_big == 0


def test_upload_stalls_without_the_mss(lab, director, rs1):
    """The trap is there: without our rule, full segments do not fit, and the upload never ends."""
    lab.run("rs1", "nft", "delete", "chain", "inet", "xdplb_realserver", "mss")

    assert upload(lab, 1_000_000).returncode != 0
    assert director.too_big > 0


def test_stranger_s_tunnel_is_refused(lab, director, rs1):
    """What somebody wraps who is no director of this real's does not reach its server."""
    setup.teardown(rs1)
    setup.setup(rs1, [parse_address(VIP)], [parse_address("192.168.2.201")])

    done = lab.run("client", "curl", "-sf", "-m", "2", f"http://{VIP}/", check=False)

    assert done.returncode != 0
    assert director.wrapped > 0
