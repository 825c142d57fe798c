# SPDX-License-Identifier: MIT
"""The state as one file of JSON: encode, decode, and the versions that there were.

Version 2 is the values of `director/state.py`, one object each. Services, real's indices, prefixes
and routes are texts, which JSON reads fast. Routes are [fields, "address …"] for each way that
reals share. Version 1 (xdplb 0.1 before November 2026) was one flat object; it is converted.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar, get_origin

from xdplb.director.allocation import Allocation
from xdplb.director.routes import Routes
from xdplb.director.services import Services, check_encoded
from xdplb.director.state import Attached, State, Transition, Wanted
from xdplb.errors import XdplbError
from xdplb.kernel.tables import decode_type
from xdplb.model.address import parse_address, parse_prefix
from xdplb.model.configuration import Timeouts
from xdplb.model.network import Route
from xdplb.model.service import OPERATOR, ServiceKey
from xdplb.model.tunables import Tunables

VERSION = 2

_T = TypeVar("_T")
_INDICES = re.compile(r"(?:\d{1,5}(?: \d{1,5})*)?")
# A service's fields of version 1. What came within that version has what it was before.
_VERSION_1 = {
    "scheduler": None,
    "flags": None,
    "one_packet": None,
    "limit": 0,
    "source_limit": 0,
    "source_cidr": "",
}


DAMAGES = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    XdplbError,
)


class Damaged(XdplbError):
    """A state that cannot be read: not JSON, not of the form, or of a newer xdplb."""


def encode(state: State) -> bytes:
    """The file's content."""
    wanted, allocated, attached = state.wanted, state.allocated, state.attached
    value = {
        "version": VERSION,
        "wanted": {
            "tunables": asdict(wanted.tunables),
            "timeouts": asdict(wanted.timeouts),
            "vips": {str(vip): ifname for vip, ifname in wanted.vips.items()},
            "denied": " ".join(wanted.denied),
            "services": wanted.services.encoded(),
        },
        "allocated": {
            "next_real": allocated.next_real,
            "services": _by_text(allocated.services),
            "reals": {str(key): _join(found) for key, found in allocated.reals.items()},
        },
        "attached": attached and asdict(attached),
        "transitions": {str(key): asdict(each) for key, each in state.transitions.items()},
        "found": _by_text(state.found),
        "removed": _by_text(state.removed),
        "routes": state.routes.encoded(),
    }
    return json.dumps(value, separators=(",", ":")).encode()


def decode(content: bytes, source: str) -> State:
    """The inverse of encode(), of older versions too. `source` names the content in messages.

    Raises: Damaged.
    """
    try:
        raw = json.loads(content)
        version = raw["version"] if isinstance(raw, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise Damaged(
                f"{source} was written by a newer xdplb (format {version}, not {VERSION})",
                "use that xdplb, or detach with it first",
            )
        if version not in _READERS:
            raise Damaged(
                f"{source} is not a state of xdplb", f"move it away: mv {source} {source}.old"
            )
        return _READERS[version](raw)
    except Damaged:
        raise
    except DAMAGES as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
        raise Damaged(
            f"{source} is damaged ({reason})", f"move it away: mv {source} {source}.old"
        ) from error


def _read_version_2(raw: Mapping[str, Any]) -> State:
    wanted, allocated = raw["wanted"], raw["allocated"]
    keys = {text: ServiceKey.parse(text) for text in wanted["services"]}
    _check_places(wanted["services"], allocated)
    return State(
        Wanted(
            _tunables(wanted["tunables"]),
            _build(Timeouts, wanted["timeouts"]),
            {parse_address(vip): str(ifname) for vip, ifname in wanted["vips"].items()},
            wanted["denied"].split(),
            Services({keys[text]: value for text, value in wanted["services"].items()}),
        ),
        Allocation(
            {keys[text]: int(number) for text, number in allocated["services"].items()},
            {keys[text]: indices for text, indices in allocated["reals"].items()},
            int(allocated["next_real"]),
        ),
        None if raw["attached"] is None else _read_attached(raw["attached"]),
        {keys[text]: _build(Transition, value) for text, value in raw["transitions"].items()},
        {keys[text]: _numbers(value) for text, value in raw["found"].items()},
        {keys[text]: _numbers(value) for text, value in raw["removed"].items()},
        Routes([(_build(Route, way), addresses) for way, addresses in raw["routes"]]),
    )


def _read_attached(raw: Any) -> Attached:
    attached = _build(Attached, raw)
    if attached.tables.keys() != attached.map_ids.keys():
        raise ValueError("tables and their ids differ")
    for description in attached.tables.values():
        decode_type(description["key"])
        decode_type(description["leaf"])
    return attached


def _check_places(services: Mapping[str, Any], allocated: Mapping[str, Any]) -> None:
    """Raises: ValueError, AttributeError, TypeError if services and their places do not fit."""
    if not services.keys() == allocated["services"].keys() == allocated["reals"].keys():
        raise ValueError("services and their places differ")
    for text, service in services.items():
        check_encoded(service)
        indices = allocated["reals"][text]
        count = indices.count(" ") + bool(indices)
        if not _INDICES.fullmatch(indices) or count != service["reals"].count("="):
            raise ValueError(f"the reals of {text} and their places differ")


def _build(kind: type[_T], raw: Mapping[str, Any]) -> _T:
    """A dataclass whose fields have the types that it declares. Raises: ValueError, KeyError, …"""
    for field in fields(kind):  # type: ignore[arg-type]
        declared = get_origin(field.type) or field.type
        if type(raw[field.name]) is not declared:
            raise ValueError(f"{field.name} is {json.dumps(raw[field.name])}")
    return kind(**raw)


def _numbers(raw: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(value) for name, value in raw.items()}


def _read_version_1(raw: Mapping[str, Any]) -> State:
    """Its configuration only. Its tables had another layout, so nothing else can be kept."""
    services: dict[ServiceKey, dict[str, Any]] = {}
    for text, old in raw["services"].items():
        reals = []
        for real in old["reals"].split():
            address, _, rest = real.partition("=")
            _, weight, last, *tunnel = rest.split(",")
            reals.append(f"{address}={','.join([weight, last, *tunnel])}")
        service = {name: old.get(name, default) for name, default in _VERSION_1.items()}
        service |= {"owner": OPERATOR, "reals": " ".join(reals)}
        check_encoded(service)
        services[ServiceKey.parse(text)] = service
    state = State(
        Wanted(
            _tunables(raw["tunables"]),
            _build(Timeouts, raw["timeouts"]),
            {parse_address(vip): str(ifname) for vip, ifname in raw["vips"].items()},
            [str(parse_prefix(prefix)) for prefix in raw["denied"]],
            Services(services),
        )
    )
    state.renew_places()
    return state


_READERS: dict[Any, Callable[[Mapping[str, Any]], State]] = {
    1: _read_version_1,
    VERSION: _read_version_2,
}


def _tunables(raw: Mapping[str, Any]) -> Tunables:
    """Sizes that this xdplb knows; another one's are no reason to refuse its services."""
    known = {field.name for field in fields(Tunables)}
    return replace(Tunables(), **{name: int(n) for name, n in raw.items() if name in known})


def _by_text(values: Mapping[ServiceKey, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in values.items()}


def _join(indices: str | list[int]) -> str:
    return indices if isinstance(indices, str) else " ".join(map(str, indices))
