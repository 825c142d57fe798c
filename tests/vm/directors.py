# SPDX-License-Identifier: MIT
"""The two directors on the lab's host `lvs`: the kernel's IPVS and xdplb, by a user's commands."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dualstack import VIP6
from fivehosts import RS1, RS2, Lab

from xdplb.lab import VIP

TCP, UDP = ("-t", f"{VIP}:80"), ("-u", f"{VIP}:5353")
RR = ("-s", "rr")
STATISTICS = "/proc/net/ip_vs_stats"  # two lines of heading, ten words; connections, packets, …


@dataclass(frozen=True)
class Ipvs:
    """IPVS by `ipvsadm -i`, which needs the VIP on the director."""

    lab: Lab

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Have the VIP for a while. There are no services at the start and at the end."""
        self.lab.run("lvs", "ip", "address", "add", f"{VIP}/32", "dev", "ens33")
        try:
            yield
        finally:
            self.flush()
            self.lab.run("lvs", "ip", "address", "del", f"{VIP}/32", "dev", "ens33")

    def add_service(self, service: Sequence[str] = TCP, scheduler: Sequence[str] = RR) -> None:
        """A service with both real servers."""
        self.lab.run("lvs", "ipvsadm", "-A", *service, *scheduler)
        for real in (RS1, RS2):
            self.lab.run("lvs", "ipvsadm", "-a", *service, "-r", real, "-i")

    def flush(self) -> None:
        """Remove all services."""
        self.lab.run("lvs", "ipvsadm", "-C")

    def packets(self) -> int:
        """The number of packets that IPVS handled."""
        _connections, packets, *_ = self.lab.output("lvs", "cat", STATISTICS).split()[10:]
        return int(packets, 16)


@dataclass(frozen=True)
class Xdplb:
    """xdplb by `xdplb attach ens33 --vip …`, which adds the VIPs, one of each family."""

    lab: Lab

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Be attached for a while."""
        self.lab.attach(vips=(VIP, VIP6))
        try:
            yield
        finally:
            self.lab.xdplb("detach", "ens33")

    def add_service(self, service: Sequence[str] = TCP, scheduler: Sequence[str] = RR) -> None:
        """A service with both real servers."""
        self.lab.xdplb("service", "add", *service, *scheduler)
        for real in (RS1, RS2):
            self.lab.xdplb("server", "add", *service, "-r", real, "-i")

    def flush(self) -> None:
        """Remove all services: the program then passes all packets, and IPVS gets them."""
        self.lab.xdplb("flush")
