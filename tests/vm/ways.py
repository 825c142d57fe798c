# SPDX-License-Identifier: MIT
"""All ways from a VIP of one family into a tunnel of one family, and a service for each."""

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
    """The families of the VIP and of the reals, and the tunnel."""

    inner: int
    outer: int
    tunnel: str

    def __str__(self) -> str:
        return f"IPv{self.inner} in IPv{self.outer}, {self.tunnel}"

    @property
    def fits(self) -> int:
        """The largest packet that fits the tunnel, in bytes."""
        return MTU - HEADER[self.outer] - TUNNEL_HEADER[self.tunnel]

    @property
    def port(self) -> int:
        """The VIP of its services."""
        return FIRST_PORT + WAYS.index(self)

    def service(self, protocol: str) -> Balanced:
        """A service with three reals of its own.

        It uses sh where the kernel's mh differs: for IPv6 reals of an IPv4 service, that mh hashes
        only the first 4 bytes of the address.
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
