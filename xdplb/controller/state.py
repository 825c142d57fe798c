# SPDX-License-Identifier: MIT
"""The desired state of one director: one file, from which the tables are derived.

`/run/xdplb/<instance>/state.json` is replaced by rename, under a lock, and readable by root only.
Beside it, while a change is under way, lies `pending.json`: what the change touches. It is written
first and removed last, so that the next command can finish what one that was killed began. And
`tables-<layout>.json` describes the tables that are pinned under that name.

The file is kept as the plain values that JSON gives, and only the services that a command looks at
become model objects: with 512 services of 100 reals that is the difference of 0.3 s a command.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xdplb.dataplane.clock import Clock
from xdplb.errors import NoPermission, TableFull, UsageError, XdplbError
from xdplb.model import Configuration, Real, Service, ServiceKey, Timeouts, Tunables
from xdplb.net import Address, parse_address
from xdplb.routes import Route

RUN = Path("/run/xdplb")
RESERVED = ("lab", "realserver", "decap")  # other directories under RUN
VERSION = 1
NOBODY = 0xFFFF  # a place that no real ever has: the owner of slots while all reals are drained


class Place:
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
        self.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.run / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
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


def places_of(service: Mapping[str, Any]) -> list[int]:
    """The places of a service's reals in the tables, in their order."""
    return [place for place, *_ in service["reals"].values()]


class State:
    """One director's desired state.

    raw: {"version", "tunables", "timeouts", "layout": the pin directory's name,
    "interfaces": {name: {…}}, "vips": {address: interface it was added to, or ""},
    "services": {key: {"id", "scheduler", "flags", "one_packet", "until": end of its transitions in
    seconds of CLOCK_BOOTTIME, 0: none, "between": places of reals that may have recorded flows in
    slots that were never said to be theirs before, "past": what its removed reals had counted,
    "reals": {address: [index, weight, last_weight]}}},
    "routes": {real's address: a Route's fields}, "next_real", "lo_forwarding", "hz"}.
    touched: the services changed since it was read, with what they were.
    """

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.touched: dict[str, Any] = {}
        self._used: set[int] | None = None
        self._used_ids: set[int] | None = None

    @classmethod
    def read(cls, path: Path) -> "State":
        """The desired state, empty if nothing was ever said. Raises: NoPermission, XdplbError."""
        raw = read_json(path)
        if raw is None:
            return cls.empty()
        ways = [asdict(Route(*way)) for way in raw.pop("ways")]
        on_link = {i for i, way in enumerate(ways) if not way["via"]}
        raw["routes"] = {
            address: {**ways[i], "via": address} if i in on_link else ways[i]
            for address, i in raw["routes"].items()
        }
        return cls(raw)

    def write(self, path: Path) -> None:
        """Replace the file. Many reals share few ways: each is written once."""
        ways: dict[tuple[Any, ...], int] = {}
        routes = {}
        for address, route in self.raw["routes"].items():
            via = "" if route["via"] == address else route["via"]
            way = (route["device"], via, route["source"], route["local"])
            routes[address] = ways.setdefault(way, len(ways))
        write_json(path, {**self.raw, "routes": routes, "ways": list(ways)})

    @classmethod
    def empty(cls) -> "State":
        """A director that nobody has said anything about."""
        return cls(
            {
                "version": VERSION,
                "tunables": asdict(Tunables()),
                "timeouts": asdict(Timeouts()),
                "layout": "",
                "interfaces": {},
                "vips": {},
                "services": {},
                "routes": {},
                "next_real": 1,
                "lo_forwarding": None,
                "hz": 0,
            }
        )

    @property
    def tunables(self) -> Tunables:
        """The sizes that the tables were made with."""
        return Tunables(**self.raw["tunables"])

    @property
    def timeouts(self) -> Timeouts:
        """The idle times in force."""
        return Timeouts(**self.raw["timeouts"])

    @property
    def clock(self) -> Clock:
        """The ticks that the program counts in."""
        return Clock(self.raw["hz"])

    @property
    def attached(self) -> bool:
        """Whether a program is loaded."""
        return bool(self.raw["layout"])

    # ---- services ----------------------------------------------------------------------------

    def service_keys(self) -> list[ServiceKey]:
        """All services' keys, in the order in which they were added."""
        return [ServiceKey.parse(key) for key in self.raw["services"]]

    def __contains__(self, key: ServiceKey) -> bool:
        return str(key) in self.raw["services"]

    def service(self, key: ServiceKey) -> Service:
        """A service that is there."""
        raw = self.raw["services"][str(key)]
        return Service(
            key=key,
            scheduler=raw["scheduler"],
            flags=frozenset(raw["flags"]),
            one_packet=raw["one_packet"],
            reals=tuple(
                Real(parse_address(address), weight, last_weight)
                for address, (_, weight, last_weight) in raw["reals"].items()
            ),
        )

    def service_id(self, key: ServiceKey) -> int:
        """A service's place in the tables."""
        return int(self.raw["services"][str(key)]["id"])

    def real_indices(self, key: ServiceKey) -> list[int]:
        """The places of a service's reals in the tables, in the order of `Service.reals`."""
        return places_of(self.raw["services"][str(key)])

    def configuration(self) -> Configuration:
        """All that an operator could have said."""
        services = {key: self.service(key) for key in self.service_keys()}
        return Configuration(MappingProxyType(services), self.timeouts)

    def put_service(self, service: Service) -> None:
        """Add a service or change it; new reals get their places. Raises: TableFull."""
        key = str(service.key)
        old = self.raw["services"].get(key)
        reals = {}
        for real in service.reals:
            address = str(real.address)
            index = old["reals"][address][0] if old and address in old["reals"] else None
            reals[address] = [
                self._place_real() if index is None else index,
                real.weight,
                real.last_weight,
            ]
        new = {
            "id": old["id"] if old else self._place_service(),
            "scheduler": service.scheduler,
            "flags": sorted(service.flags),
            "one_packet": service.one_packet,
            "until": old["until"] if old else 0,
            "between": old["between"] if old else [],
            "past": old["past"] if old else {},
            "reals": reals,
        }
        if new == old and list(reals) == list(old["reals"]):  # as IPVS's, rings go by the order
            return
        if old and (old["until"] or old["scheduler"] != new["scheduler"]):
            new["between"] = sorted({*old["between"], *places_of(old)})
        self.touch(key)
        self.raw["services"][key] = new

    def remove_service(self, key: ServiceKey) -> None:
        """Remove a service that is there."""
        self.touch(str(key))
        gone = self.raw["services"].pop(str(key))
        if self._used_ids is not None:
            self._used_ids.discard(gone["id"])

    def renew_places(self) -> None:
        """Give all new places, for tables that were just made and hold no flows.

        Raises: TableFull.
        """
        self._used, self._used_ids, self.raw["next_real"] = set(), set(), 1
        for service in self.raw["services"].values():
            service.update(id=self._place_service(), until=0, between=[])
            for real in service["reals"].values():
                real[0] = self._place_real()

    def touch(self, key: str) -> None:
        """Remember what a service was before this change."""
        self.touched.setdefault(key, self.raw["services"].get(key))

    def addresses(self) -> set[str]:
        """All reals' addresses, each once."""
        return {a for service in self.raw["services"].values() for a in service["reals"]}

    def vips(self) -> list[Address]:
        """Attached VIPs and those of services, each once."""
        named = {*map(parse_address, self.raw["vips"]), *(key.vip for key in self.service_keys())}
        return sorted(named, key=lambda vip: (vip.version, vip.packed))

    def _place_service(self) -> int:
        if self._used_ids is None:
            self._used_ids = {service["id"] for service in self.raw["services"].values()}
        limit = self.tunables.max_services
        for place in range(1, limit):
            if place not in self._used_ids:
                self._used_ids.add(place)
                return place
        raise TableFull(
            f"there are {limit - 1} services already", "attach with a larger --tune max_services=…"
        )

    def _place_real(self) -> int:
        """The next free place, round and round: so that one is used again as late as can be.

        Records of flows to the real that had it before may still be about.
        """
        if self._used is None:
            services: Mapping[str, Any] = self.raw["services"]
            self._used = {r[0] for s in services.values() for r in s["reals"].values()}
        limit = min(self.tunables.max_reals, NOBODY)
        for step in range(limit - 1):
            place = (self.raw["next_real"] - 1 + step) % (limit - 1) + 1
            if place not in self._used:
                self._used.add(place)
                self.raw["next_real"] = place % (limit - 1) + 1
                return int(place)
        raise TableFull(
            f"there are {limit - 1} reals already, in all services",
            "attach with a larger --tune max_reals=…",
        )
