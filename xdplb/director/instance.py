# SPDX-License-Identifier: MIT
"""A director's files: where they are, how they are replaced, and how the state is written down.

Every command reads the whole state and looks at one service: so what is there by the ten thousand
is text, which is quickly read and written, and parsed only when it is asked for. A service's reals
are "address=place,weight,last_weight …", with ",tunnel" where that is not ipip, the routes
[way, "address …"] for each way they share.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xdplb.errors import NoPermission, UsageError, XdplbError
from xdplb.host import directories, locks

RUN = Path("/run/xdplb")
RESERVED = ("lab", "realserver", "decap")  # other directories under RUN

_ADDRESS = re.compile(r"([^ =]+)=")
_PLACE = re.compile(r"=(\d+),")


class Instance:
    """Where an instance's files are."""

    def __init__(self, instance: str) -> None:
        if instance in RESERVED or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", instance):
            raise UsageError(
                f"instance '{instance}' is not a name an instance can have",
                f"use letters, digits, '_' and '-', but none of {', '.join(RESERVED)}",
            )
        self.instance = instance
        self.run = RUN / instance
        self.state = self.run / "state.json"
        self.pending = self.run / "pending.json"

    def tables(self, layout: str) -> Path:
        """The tables' descriptions, as BCC gave them."""
        return self.run / f"tables-{layout}.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the instance's lock. Raises: NoPermission."""
        if os.geteuid() != 0:
            raise _not_root()
        directories.make(self.run)
        with locks.locked(self.run / "lock"):
            yield


def _not_root() -> NoPermission:
    return NoPermission("xdplb needs root: its maps and its state are root's", "use sudo")


def write_json(path: Path, value: Any) -> None:
    """Replace a file whole, readable by root only."""
    write_bytes(path, json.dumps(value, separators=(",", ":")).encode())


def write_bytes(path: Path, text: bytes) -> None:
    """Replace a file whole, readable by root only. Raises: XdplbError where there is no room."""
    new = path.with_suffix(".new")
    try:
        new.touch(mode=0o600)
        new.write_bytes(text)
        new.replace(path)
    except OSError as error:
        raise XdplbError(
            f"{path} cannot be written: {error.strerror}", f"make room in {path.parent}"
        ) from error


def read_json(path: Path) -> Any:
    """A file's value, None if there is no such file. Raises: NoPermission, XdplbError."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except PermissionError:
        raise _not_root() from None
    except ValueError as error:
        raise XdplbError(
            f"{path} is damaged: {error}", f"remove it, and attach and apply again (rm {path})"
        ) from error


class Record(dict[str, Any]):
    """A service as the file has it: its reals are text until they are asked for."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.text: str = self.pop("reals")

    def __missing__(self, name: str) -> Any:
        if name != "reals":
            raise KeyError(name)
        reals: dict[str, list[int | str]] = {}
        for real in self.text.split():
            address, _, rest = real.partition("=")
            place, weight, last, *tunnel = rest.split(",")
            reals[address] = [int(place), int(weight), int(last), *tunnel]
        self[name] = reals
        return reals


def addresses_of(service: Mapping[str, Any]) -> list[str]:
    """The addresses of a service's reals."""
    if isinstance(service, Record) and "reals" not in service:
        return _ADDRESS.findall(service.text)
    return list(service["reals"])


def places_of(service: Mapping[str, Any]) -> list[int]:
    """The places of a service's reals in the tables, in their order."""
    if isinstance(service, Record) and "reals" not in service:
        return [int(place) for place in _PLACE.findall(service.text)]
    return [place for place, *_ in service["reals"].values()]


def read_state(path: Path) -> dict[str, Any] | None:
    """What write_state() wrote, None if there is no such file. Raises: NoPermission, XdplbError."""
    raw: dict[str, Any] | None = read_json(path)
    if raw is None:
        return None
    raw["services"] = {key: Record(service) for key, service in raw["services"].items()}
    routes = {}
    for way, addresses in raw["routes"]:
        routes.update(dict.fromkeys(addresses.split(), way))
    raw["routes"] = routes
    return raw


def write_state(path: Path, raw: Mapping[str, Any]) -> None:
    """Replace the file. Routes that are the same are written once, with all that have them."""
    services = {
        key: {**service, "reals": _text_of(service)} for key, service in raw["services"].items()
    }
    sharing: dict[int, list[str]] = {}
    for address, way in raw["routes"].items():
        sharing.setdefault(id(way), []).append(address)
    routes = [[raw["routes"][all_[0]], " ".join(all_)] for all_ in sharing.values()]
    write_json(path, {**raw, "services": services, "routes": routes})


def _text_of(service: Mapping[str, Any]) -> str:
    if isinstance(service, Record) and "reals" not in service:
        return service.text
    return " ".join(f"{a}={','.join(map(str, real))}" for a, real in service["reals"].items())
