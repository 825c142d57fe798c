# SPDX-License-Identifier: MIT
"""What an operator says about one director."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

from xdplb.model.address import Address, Prefix
from xdplb.model.service import Service, ServiceKey


@dataclass(frozen=True)
class Timeouts:
    """Idle times after which a flow's record expires, in seconds. The defaults are IPVS's."""

    tcp: int = 900
    tcpfin: int = 120
    udp: int = 300


@dataclass(frozen=True)
class Configuration:
    """What an operator says about one director: `apply` takes it, `save` writes it.

    vips: each with its interface ("": the first attached one); None: they stay as they are.
    """

    services: Mapping[ServiceKey, Service] = field(default_factory=lambda: MappingProxyType({}))
    timeouts: Timeouts = field(default_factory=Timeouts)
    denied: frozenset[Prefix] = frozenset()
    vips: Mapping[Address, str] | None = None


TIMEOUTS = tuple(field.name for field in fields(Timeouts))
