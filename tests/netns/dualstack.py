# SPDX-License-Identifier: MIT
"""The reference case in both families: who is where, and scripts on its hosts."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from fivehosts import RS1, RS2, Lab

from xdplb import lab as labs

VIP6 = labs.VIP6
DIP6, RS1_6, RS2_6 = (f"2001:db8:2::{n}" for n in ("200", "220", "210"))
CLIENT6 = "2001:db8:1::200"


@dataclass(frozen=True)
class Family:
    """Who is where, in one family."""

    version: int
    vip: str
    dip: str
    rs1: str
    rs2: str
    client: str
    gateway: str  # of the director's network
    router: str  # the same host's, in the client's network

    def at(self, port: int) -> str:
        """The VIP and a port of it."""
        return f"[{self.vip}]:{port}" if self.version == 6 else f"{self.vip}:{port}"

    @property
    def url(self) -> str:
        return f"http://{self.at(80)}/"


IPV4 = Family(
    4,
    labs.VIP,
    "192.168.2.200",
    RS1,
    RS2,
    "192.168.1.200",
    "192.168.2.1",
    "192.168.1.1",
)
IPV6 = Family(
    6,
    VIP6,
    DIP6,
    RS1_6,
    RS2_6,
    CLIENT6,
    "2001:db8:2::1",
    "2001:db8:1::1",
)
both_families = pytest.mark.parametrize("family", [IPV4, IPV6], ids=["IPv4", "IPv6"])


def shell(lab: Lab, host: str, script: str) -> None:
    """Run a script on a host."""
    command = labs.command(lab.name, host, ["sh", "-e"])
    subprocess.run(command, input=script, text=True, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def meanwhile(lab: Lab, host: str, does: str, undoes: str) -> Iterator[None]:
    """What a script does on a host, for a while."""
    shell(lab, host, does)
    try:
        yield
    finally:
        shell(lab, host, undoes)


def forget_paths(lab: Lab) -> None:
    """Nobody knows any more what ICMP said of paths, but the director's program."""
    for host in labs.HOSTS:
        shell(lab, host, "ip route flush cache; ip -6 route flush cache")
