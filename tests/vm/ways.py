# SPDX-License-Identifier: MIT
"""All ways from a VIP of either family into a tunnel of either, and a service for each."""

from dataclasses import dataclass

from balanced import TUNNELS, Balanced
from datagram import HEADER, V4, V6
from dualstack import VIP6

from xdplb.lab import VIP

MTU = 1500
FIRST_PORT = 81
VIPS = {V4: VIP, V6: VIP6}
REALS = {V4: "10.20.0.{}", V6: "2001:db8:20::{}"}
TUNNEL_HEADER = {"ipip": 0, "gre": 4, "gre+csum": 8, "gue": 12, "gue+csum": 12}


@dataclass(frozen=True)
class Way:
    """Families of the VIP and of the reals, and what they are reached by."""

    inner: int
    outer: int
    tunnel: str

    def __str__(self) -> str:
        return f"IPv{self.inner} in IPv{self.outer}, {self.tunnel}"

    @property
    def fits(self) -> int:
        """The largest packet that has room in the tunnel."""
        return MTU - HEADER[self.outer] - TUNNEL_HEADER[self.tunnel]

    @property
    def port(self) -> int:
        """Of its services."""
        return FIRST_PORT + WAYS.index(self)

    def service(self, protocol: str) -> Balanced:
        """With three reals of its own.

        By sh where mh differs: of IPv6 reals of an IPv4 service it looks at the first 4 bytes only.
        """
        name = "sh" if (self.inner, self.outer) == (V4, V6) else "mh"
        numbers = (10 * WAYS.index(self) + n for n in (1, 2, 3))
        reals = tuple((REALS[self.outer].format(n), n % 10) for n in numbers)
        return Balanced(
            protocol,
            self.port,
            name,
            (f"{name}-port",),
            reals,
            tunnel=self.tunnel,
            vip=VIPS[self.inner],
        )


WAYS = [Way(inner, outer, tunnel) for inner in (V4, V6) for outer in (V4, V6) for tunnel in TUNNELS]
SERVICES = [way.service(protocol) for way in WAYS for protocol in ("tcp", "udp")]
