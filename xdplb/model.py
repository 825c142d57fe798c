# SPDX-License-Identifier: MIT
"""What a director is made of: plain frozen values, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType

from xdplb.errors import UsageError
from xdplb.net import Address, Prefix, format_endpoint, parse_endpoint, parse_port

MAX_WEIGHT = 65535  # ipvsadm's own bound
TUNNEL_KINDS = ("ipip", "gre", "gue")
GUE_PORT = 6080  # IANA's
MAX_LIMIT = 1_000_000_000  # a tick's share of it fits C's 32 bits


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
class Tunnel:
    """How packets are wrapped on their way to a real: ipvsadm's `--tun-type` and what goes with it.

    Text form: `ipip`, `gre`, `gre+csum`, `gue:6080`, `gue:6080+csum`.
    """

    kind: str = "ipip"
    port: int = 0  # GUE's, of UDP
    checksum: bool = False

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        return f"{self.kind}{port}{'+csum' if self.checksum else ''}"

    @classmethod
    def parse(cls, text: str) -> "Tunnel":
        """The inverse of `str()`; a GUE without its port has GUE's own. Raises: UsageError."""
        rest, plus, checksum = text.partition("+")
        kind, colon, port = rest.partition(":")
        if plus and checksum != "csum":
            raise UsageError(f"tunnel '{text}' ends in '+{checksum}'", "only +csum can stand there")
        return cls.of(kind, parse_port(port, "tunnel port") if colon else None, bool(plus))

    @classmethod
    def of(cls, kind: str, port: int | None = None, checksum: bool = False) -> "Tunnel":
        """A tunnel that can be. Raises: UsageError."""
        if kind not in TUNNEL_KINDS:
            raise UsageError(
                f"there is no tunnel '{kind}'", f"choose from {', '.join(TUNNEL_KINDS)}"
            )
        if kind == "ipip" and checksum:
            raise UsageError("an ipip tunnel has no checksum", "choose gre or gue, or leave it out")
        if kind != "gue" and port is not None:
            raise UsageError(f"a {kind} tunnel has no port", "choose gue, or leave the port out")
        if port == 0:
            raise UsageError("tunnel port 0 is none", "give a number from 1 to 65535")
        return cls(kind, port or (GUE_PORT if kind == "gue" else 0), checksum)


IPIP = Tunnel()


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
    how many flows a second may begin, of all clients and of each address; 0: as many as come.
    `source_cidr` is where flows get their outer source from, each its own; None: all have the DIP.
    """

    key: ServiceKey
    scheduler: str = "mh"
    flags: frozenset[str] = frozenset()
    one_packet: bool = False
    reals: tuple[Real, ...] = ()
    limit: int = 0
    source_limit: int = 0
    source_cidr: Prefix | None = None


@dataclass(frozen=True)
class Timeouts:
    """Idle times after which a flow's record may be given up, in seconds, as IPVS's defaults."""

    tcp: int = 900
    tcpfin: int = 120
    udp: int = 300


@dataclass(frozen=True)
class Vlan:
    """What leaves by a VLAN device: by which interface (its number), and with which tags.

    tags: the outermost first; each a TPID and a VID (IEEE 802.1Q §9.6).
    """

    parent: int
    tags: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Tunables:
    """Sizes of the tables. They reach C as `-DNAME=value` in upper case, and nothing else does."""

    max_vips: int = 1024
    max_services: int = 1024
    max_reals: int = 65536
    ring_slots: int = 4093  # a prime of ip_vs_mh.c: CONFIG_IP_VS_MH_TAB_INDEX 12
    flow_buckets: int = 1 << 20  # of 8 flows, 64 bytes each
    max_denied: int = 65536
    fragment_buckets: int = 1 << 14  # of 8 packets that come in pieces, 64 bytes each
    source_tallies: int = 1 << 20  # of 8 bytes; who shares one is refused the sooner


@dataclass(frozen=True)
class Configuration:
    """What an operator says about one director's services: `apply` takes it, `save` writes it."""

    services: Mapping[ServiceKey, Service] = field(default_factory=lambda: MappingProxyType({}))
    timeouts: Timeouts = Timeouts()
    denied: frozenset[Prefix] = frozenset()
