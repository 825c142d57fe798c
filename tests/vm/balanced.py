# SPDX-License-Identifier: MIT
"""Services in the words of both directors."""

from collections.abc import Sequence
from dataclasses import dataclass

from directors import Ipvs, Xdplb
from line import MARK_PORT

from xdplb.lab import VIP

TUNNELS = {
    "ipip": [],
    "gre": ["--tun-type", "gre"],
    "gre+csum": ["--tun-type", "gre", "--tun-csum"],
    "gue": ["--tun-type", "gue", "--tun-port", "6080"],
    "gue+csum": ["--tun-type", "gue", "--tun-port", "6080", "--tun-csum"],
}


@dataclass(frozen=True)
class Balanced:
    """A service, with weights by real. A drained real's weight is the one that it had before."""

    protocol: str  # tcp, udp
    port: int
    scheduler: str
    flags: tuple[str, ...]
    weights: tuple[tuple[str, int], ...]
    drained: frozenset[str] = frozenset()
    tunnel: str = "ipip"
    vip: str = VIP

    def at_port(self, address: str) -> str:
        """An endpoint of the VIP or of a real, as text for both directors."""
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"

    def by_ipvsadm(self) -> list[list[str]]:
        """The commands that make it. Draining comes last, so that IPVS keeps the old weight."""
        name = [f"-{self.protocol[0]}", self.at_port(self.vip)]
        flags = ["-b", ",".join(self.flags)] if self.flags else []
        tunnel = TUNNELS[self.tunnel]
        lines = [["-A", *name, "-s", self.scheduler, *flags]]
        for real, weight in self.weights:
            lines.append(["-a", *name, "-r", self.at_port(real), "-i", *tunnel, "-w", str(weight)])
        for real in sorted(self.drained):
            lines.append(["-e", *name, "-r", self.at_port(real), "-i", *tunnel, "-w", "0"])
        return lines

    def toml(self, *, drained: bool) -> str:
        """The service as a TOML table; with `drained`, with its drained reals at weight 0."""
        reals = [
            f"{real} weight={0 if drained and real in self.drained else weight}"
            f" tunnel={self.tunnel}"
            for real, weight in self.weights
        ]
        name = self.at_port(self.vip)
        return (
            f'[[service]]\n{self.protocol} = "{name}"\nscheduler = "{self.scheduler}"\n'
            f"flags = {list(self.flags)}\nreals = {reals}\n"
        )


MARKS = Balanced("udp", MARK_PORT, "rr", (), (("10.20.0.250", 1),))


def balance_by_ipvs(director: Ipvs, services: Sequence[Balanced]) -> None:
    """Make IPVS balance these services, TCP in midstream too."""
    lines = [line for service in (MARKS, *services) for line in service.by_ipvsadm()]
    rules = "\n".join(map(" ".join, lines))
    script = f"echo 1 > /proc/sys/net/ipv4/vs/sloppy_tcp\nipvsadm -R <<'END'\n{rules}\nEND\n"
    director.lab.run("lvs", "sh", "-ec", script)


def clear_ipvs(director: Ipvs) -> None:
    """Remove all services from IPVS, and restore its setting."""
    director.flush()
    director.lab.run("lvs", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/vs/sloppy_tcp")


def balance_by_xdplb(director: Xdplb, services: Sequence[Balanced]) -> None:
    """Make xdplb balance these services, in two steps if some reals are drained."""
    director.flush()
    director.lab.apply("".join(each.toml(drained=False) for each in (MARKS, *services)))
    if any(each.drained for each in services):
        director.lab.apply("".join(each.toml(drained=True) for each in (MARKS, *services)))
