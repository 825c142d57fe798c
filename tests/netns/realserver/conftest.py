# SPDX-License-Identifier: MIT
"""A real server to be: one namespace, on which nothing was set up."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from xdplb.errors import XdplbError
from xdplb.host import namespaces
from xdplb.model.address import parse_address
from xdplb.realserver import setup
from xdplb.realserver.host import Host

VIP = parse_address("192.168.2.100")
KEYS = ("rp_filter", "arp_ignore", "arp_announce")


@dataclass(frozen=True)
class Real:
    """A namespace with eth0 192.168.2.220/24, whose far end is peer0, and a default route."""

    name: str

    @property
    def host(self) -> Host:
        return Host(netns=self.name)

    def run(self, command: str) -> str:
        """Run a shell command there."""
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.name}", "sh", "-ec", command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sysctl(self, dev: str, key: str) -> int:
        return int(self.run(f"cat /proc/sys/net/ipv4/conf/{dev}/{key}"))

    def put(self, dev: str, key: str, value: int) -> None:
        self.run(f"echo {value} > /proc/sys/net/ipv4/conf/{dev}/{key}")

    def effective(self, dev: str, key: str) -> int:
        """What the kernel goes by."""
        return max(self.sysctl("all", key), self.sysctl(dev, key))

    def everything(self) -> str:
        """All that setup might change, as text."""
        return self.run(
            "ip -4 -o address | sed 's/valid_lft.*//'; ip route; ip rule; nft list ruleset; "
            "ip -o link | grep -o '<.*>\\|prog/xdp.*'; grep . /proc/sys/net/ipv4/conf/*/*"
        )

    def wrong(self, *vips: object) -> set[str]:
        """The names of the facts that are wrong."""
        return {
            fact.name
            for fact in setup.check(self.host, vips or [parse_address("192.168.2.100")])
            if not fact.ok
        }


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Iterator[Real]:
    """A host on which nothing was set up, with the kernel's own default settings."""
    request.getfixturevalue("lab_name")  # skips or fails without root
    here = Real(f"xdplb-real-{uuid.uuid4().hex[:8]}")
    namespaces.create(here.name)
    try:
        for dev in ("all", "default", "lo"):  # inherited from the machine: stated, not assumed
            for key in KEYS:
                here.put(dev, key, 0)
        here.run(
            "ip link set lo up; ip link add eth0 type veth peer name peer0; ip link set peer0 up; "
            "ip addr add 192.168.2.220/24 dev eth0; ip link set eth0 up; "
            "ip route add default via 192.168.2.1"
        )
        yield here
        with contextlib.suppress(XdplbError):
            setup.teardown(here.host)
    finally:
        namespaces.remove(here.name)


@pytest.fixture(scope="session")
def has_ipip() -> bool:
    """Whether this kernel can unwrap by itself."""
    name = f"xdplb-probe-{uuid.uuid4().hex[:8]}"
    namespaces.create(name)
    try:
        command = "modprobe -q ipip; ip link add tunl0 type ipip; ip link show tunl0"
        argv = ["nsenter", f"--net=/run/netns/{name}", "sh", "-c", command]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    finally:
        namespaces.remove(name)


@pytest.fixture
def ipip(has_ipip: bool) -> None:
    """A kernel with ipip: CI's own has none, and cannot; tests/vm has one."""
    if not has_ipip:
        pytest.skip("this kernel has no ipip; tests/vm covers tunl0 on one that has")
