# SPDX-License-Identifier: MIT
"""Services and real servers: plain frozen values."""

from dataclasses import dataclass
from enum import IntEnum

from xdplb.errors import UsageError
from xdplb.model.address import Address, Prefix, format_endpoint, parse_endpoint
from xdplb.model.tunnel import IPIP, Tunnel

MAX_WEIGHT = 2**31 - 1  # the bound of Debian's ipvsadm: the kernel keeps weights in an int
OPERATOR = "operator"  # who owns a service, unless the agent or another table does
LIMITS = ("limit", "source_limit")
MAX_LIMIT = 1_000_000_000  # a tick's share of it fits C's 32 bits


def parse_weight(text: str) -> int:
    """Parse a real's weight; 0 drains it. Raises: UsageError."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_WEIGHT)):
        return check_weight(int(text))
    raise _bad_weight(text)


def check_weight(weight: int) -> int:
    """Returns: the weight. Raises: UsageError if it is out of range."""
    if not 0 <= weight <= MAX_WEIGHT:
        raise _bad_weight(weight)
    return weight


def _bad_weight(weight: int | str) -> UsageError:
    return UsageError(
        f"weight '{weight}' will not do", f"give a number from 0, which drains, to {MAX_WEIGHT}"
    )


class Protocol(IntEnum):
    """IP protocol numbers of the transports that are balanced."""

    TCP = 6
    UDP = 17


@dataclass(frozen=True, order=True)
class ServiceKey:
    """A service's identity: protocol, VIP and port (0: any port). Text form: `tcp/192.0.2.1:80`."""

    protocol: Protocol
    vip: Address
    port: int

    def __str__(self) -> str:
        return f"{self.protocol.name.lower()}/{format_endpoint(self.vip, self.port)}"

    @classmethod
    def parse(cls, text: str) -> "ServiceKey":
        """The inverse of `str()`. Raises: UsageError."""
        protocol, slash, endpoint = text.partition("/")
        if not slash or protocol.upper() not in Protocol.__members__:
            raise UsageError(
                f"service '{text}' does not begin with its protocol",
                "write it as tcp/192.0.2.1:80 or udp/192.0.2.1:53",
            )
        return cls(Protocol[protocol.upper()], *parse_endpoint(endpoint))


@dataclass(frozen=True)
class Real:
    """A real server of one service. Weight 0 drains it: it keeps its flows and gets no new ones.

    `last_weight` is the latest weight that was not 0: IPVS's `mh` fills its table by it
    (ip_vs_ctl.c, __ip_vs_update_dest).
    """

    address: Address
    weight: int = 1
    last_weight: int = 1
    tunnel: Tunnel = IPIP


@dataclass(frozen=True)
class Service:
    """A virtual service and its reals, in the order in which they were added.

    `flags` are the scheduler's own (`mh-port`, `mh-fallback`, `sh-port`, `sh-fallback`);
    `one_packet` balances each UDP packet by itself (ipvsadm's `-o`). `limit` and `source_limit` are
    how many flows may begin per second, for all clients and for each source (an IPv4 address or an
    IPv6 /64); 0: no limit. `source_cidr` is a prefix that gives each flow its own outer source;
    None: all have the DIP.
    `owner` is who may change it: the operator, or a name such as "ipvs".
    """

    key: ServiceKey
    scheduler: str = "mh"
    flags: frozenset[str] = frozenset()
    one_packet: bool = False
    reals: tuple[Real, ...] = ()
    limit: int = 0
    source_limit: int = 0
    source_cidr: Prefix | None = None
    owner: str = OPERATOR
