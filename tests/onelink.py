# SPDX-License-Identifier: MIT
"""Two hosts on one wire, for who answers there."""

import contextlib
import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from balancer import require_root

from xdplb.host import namespaces, probes
from xdplb.model.address import Address

PATIENCE_S = 0.7


@dataclass(frozen=True)
class Link:
    """Two hosts, us and them, each with eth0 on one wire."""

    us: str
    them: str

    def run(self, host: str, command: str) -> str:
        argv = ["nsenter", f"--net=/run/netns/{host}", "sh", "-ec", command]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def they(self, command: str) -> None:
        self.run(self.them, command)

    def mac(self, host: str, ifname: str = "eth0") -> str:
        [link] = json.loads(self.run(host, f"ip -json link show {ifname}"))
        return str(link["address"])

    def who_answer(
        self, *vips: Address, ifname: str = "eth0", within_s: float = PATIENCE_S
    ) -> dict[Address, str]:
        """What we hear, in time."""
        start = time.monotonic()
        with namespaces.entered(self.us):
            found = probes.who_answer(vips, ifname)
        assert time.monotonic() - start < within_s
        return found


@contextlib.contextmanager
def linked() -> Iterator[Link]:
    """They answer ARP for all their addresses."""
    require_root()
    link = Link(*(f"xdplb-probe-{uuid.uuid4().hex[:8]}" for _ in range(2)))
    try:
        for host in (link.us, link.them):
            namespaces.create(host)
        link.run(link.us, f"ip link add eth0 type veth peer name eth0 netns {link.them}")
        for host in (link.us, link.them):
            link.run(
                host,
                "echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore;"
                "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6;"
                "for dev in lo eth0; do"
                "  echo 0 > /proc/sys/net/ipv4/conf/$dev/arp_ignore; ip link set $dev up; done",
            )
        yield link
    finally:
        for host in (link.us, link.them):
            namespaces.remove(host)
