# SPDX-License-Identifier: MIT
"""What a director is made of: plain frozen values, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType

from xdplb.errors import UsageError
from xdplb.net import Address, format_endpoint, parse_endpoint

MAX_WEIGHT = 65535  # ipvsadm's own bound


class Protocol(IntEnum):
    """IP protocol numbers of the transports that are balanced."""

    TCP = 6
    UDP = 17


@dataclass(frozen=True, order=True)
class ServiceKey:
    """What names a service: protocol, VIP and port (0: any port). Text form: `tcp/192.0.2.1:80`."""

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


@dataclass(frozen=True)
class Service:
    """A virtual service and its reals, in the order in which they were added.

    `flags` are the scheduler's own (`mh-port`, `mh-fallback`, `sh-port`, `sh-fallback`);
    `one_packet` balances each UDP packet by itself (ipvsadm's `-o`).
    """

    key: ServiceKey
    scheduler: str = "mh"
    flags: frozenset[str] = frozenset()
    one_packet: bool = False
    reals: tuple[Real, ...] = ()


@dataclass(frozen=True)
class Timeouts:
    """Idle times after which a flow's record may be given up, in seconds, as IPVS's defaults."""

    tcp: int = 900
    tcpfin: int = 120
    udp: int = 300


@dataclass(frozen=True)
class Tunables:
    """Sizes of the tables. They reach C as `-DNAME=value` in upper case, and nothing else does."""

    max_vips: int = 1024
    max_services: int = 1024
    max_reals: int = 65536
    ring_slots: int = 4093  # a prime of ip_vs_mh.c: CONFIG_IP_VS_MH_TAB_INDEX 12
    flow_buckets: int = 1 << 20  # of 8 flows, 64 bytes each


@dataclass(frozen=True)
class Configuration:
    """What an operator says about one director's services: `apply` takes it, `save` writes it."""

    services: Mapping[ServiceKey, Service] = field(default_factory=lambda: MappingProxyType({}))
    timeouts: Timeouts = Timeouts()
