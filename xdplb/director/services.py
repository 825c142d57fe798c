# SPDX-License-Identifier: MIT
"""The wanted services by key. A service's reals stay text until they are asked for.

Every command reads the whole state and most look at one service. 50,000 reals as text are read and
written in milliseconds; as objects they take half a second. A real's text is
"address=weight,last_weight", with ",tunnel" where that is not ipip.
"""

import re
from collections.abc import Iterator, MutableMapping
from typing import Any

from xdplb.model.address import parse_address, parse_prefix
from xdplb.model.schedulers import get_scheduler
from xdplb.model.service import Real, Service, ServiceKey
from xdplb.model.tunnel import IPIP, Tunnel

_ADDRESS = re.compile(r"([^ =]+)=")
_REAL = r"[0-9a-f.:]+=\d{1,10},\d{1,10}(?:,[^ ]+)?"
_REALS = re.compile(f"(?:{_REAL}(?: {_REAL})*)?")
_KINDS = {
    "owner": str,
    "scheduler": str,
    "flags": list,
    "one_packet": bool,
    "limit": int,
    "source_limit": int,
    "source_cidr": str,
    "reals": str,
}


class Services(MutableMapping[ServiceKey, Service]):
    """A mapping that keeps the order in which services were added."""

    def __init__(self, encoded: dict[ServiceKey, dict[str, Any]] | None = None) -> None:
        self._items: dict[ServiceKey, Service | dict[str, Any]] = dict(encoded or {})

    def __getitem__(self, key: ServiceKey) -> Service:
        found = self._items[key]
        if isinstance(found, dict):
            found = self._items[key] = _decode(key, found)
        return found

    def __setitem__(self, key: ServiceKey, service: Service) -> None:
        self._items[key] = service

    def __delitem__(self, key: ServiceKey) -> None:
        del self._items[key]

    def __iter__(self) -> Iterator[ServiceKey]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def addresses(self, key: ServiceKey) -> list[str]:
        """The addresses of a service's reals, as text."""
        found = self._items[key]
        if isinstance(found, dict):
            return _ADDRESS.findall(found["reals"])
        return [str(real.address) for real in found.reals]

    def reorder(self, keys: Iterator[ServiceKey]) -> None:
        """Put the services in this order; keys: all of them."""
        self._items = {key: self._items[key] for key in keys}

    def encoded(self) -> dict[str, dict[str, Any]]:
        """What the state file holds: values as JSON has them, by the keys' text."""
        return {
            str(key): value if isinstance(value, dict) else _encode(value)
            for key, value in self._items.items()
        }


def check_encoded(raw: dict[str, Any]) -> None:
    """Raises: ValueError, UsageError if encoded() does not give this; addresses are not read."""
    if {name: type(value) for name, value in raw.items()} != _KINDS:
        raise ValueError("a service's fields are other ones")
    if not _REALS.fullmatch(raw["reals"]):
        raise ValueError("the reals of a service are not a list of them")
    if not all(isinstance(flag, str) for flag in raw["flags"]):
        raise ValueError("a service's flags are no texts")
    get_scheduler(raw["scheduler"])
    if raw["source_cidr"]:
        parse_prefix(raw["source_cidr"])


def _encode(service: Service) -> dict[str, Any]:
    return {
        "owner": service.owner,
        "scheduler": service.scheduler,
        "flags": sorted(service.flags),
        "one_packet": service.one_packet,
        "limit": service.limit,
        "source_limit": service.source_limit,
        "source_cidr": str(service.source_cidr or ""),
        "reals": " ".join(map(_encode_real, service.reals)),
    }


def _encode_real(real: Real) -> str:
    tunnel = "" if real.tunnel == IPIP else f",{real.tunnel}"
    return f"{real.address}={real.weight},{real.last_weight}{tunnel}"


def _decode(key: ServiceKey, raw: dict[str, Any]) -> Service:
    return Service(
        key=key,
        scheduler=raw["scheduler"],
        flags=frozenset(raw["flags"]),
        one_packet=raw["one_packet"],
        reals=tuple(map(_decode_real, raw["reals"].split())),
        limit=raw["limit"],
        source_limit=raw["source_limit"],
        source_cidr=parse_prefix(raw["source_cidr"]) if raw["source_cidr"] else None,
        owner=raw["owner"],
    )


def _decode_real(text: str) -> Real:
    address, _, rest = text.partition("=")
    weight, last, *tunnel = rest.split(",")
    return Real(parse_address(address), int(weight), int(last), *map(Tunnel.parse, tunnel))
