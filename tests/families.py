# SPDX-License-Identifier: MIT
"""The two families of IP, for tests of what both share."""

from collections.abc import Callable
from dataclasses import dataclass

import packets

from xdplb.model.address import format_endpoint, parse_address


@dataclass(frozen=True)
class Family:
    """Addresses of the client, the VIPs and two reals. `cut` makes a datagram's fragments."""

    cip: str
    vip: str
    other_vip: str
    a: str
    b: str
    cut: Callable[..., list[bytes]]
    whole: Callable[..., bytes]

    @property
    def endpoint(self) -> str:
        """The VIP's service, as text."""
        return format_endpoint(parse_address(self.vip), packets.DPORT)

    @property
    def other(self) -> str:
        """The other VIP's service, as text."""
        return format_endpoint(parse_address(self.other_vip), packets.DPORT)


IPV4 = Family(
    *(packets.CIP, packets.VIP, "10.0.0.81", "192.168.0.7", "192.168.0.8"),
    packets.fragments,
    packets.ip,
)
IPV6 = Family(
    *(packets.CIP6, packets.VIP6, "2001:db8:80::81", packets.RIP6, "2001:db8:9::8"),
    packets.fragments6,
    packets.ip6,
)
