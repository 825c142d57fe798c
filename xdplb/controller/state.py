# SPDX-License-Identifier: MIT
"""The desired state of one director: one file, from which the tables are derived.

`/run/xdplb/<instance>/state.json` is replaced by rename, under a lock, and readable by root only.
Beside it, while a change is under way, lies `pending.json`: what the change touches. It is written
first and removed last, so that the next command can finish what one that was killed began. And
`tables-<layout>.json` describes the tables that are pinned under that name.

Here it is plain values, as JSON gives them, and only the services that a command looks at become
model objects.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xdplb.controller.store import addresses_of, places_of, read_state, write_state
from xdplb.dataplane.clock import Clock
from xdplb.errors import TableFull
from xdplb.model import IPIP, Configuration, Real, Service, ServiceKey, Timeouts, Tunables, Tunnel
from xdplb.net import Address, parse_address, parse_prefix
from xdplb.routes import Route

VERSION = 1
NOBODY = 0xFFFE  # no real has this place or a higher one: owns the slots while all are drained


class State:
    """One director's desired state.

    raw: {"version", "tunables", "timeouts", "layout": the pin directory's name,
    "interfaces": {name: {…}}, "vips": {address: interface it was added to, or ""},
    "denied": [prefix, …], "services": {key: {"id", "scheduler", "flags", "one_packet", "limit",
    "source_limit", "source_cidr", "until": end of its transitions in seconds of CLOCK_BOOTTIME,
    0: none, "between": places of reals that may have recorded flows in slots that were never said
    to be theirs before, "past": what its removed reals had counted,
    "reals": {address: [index, weight, last_weight, tunnel's text unless it is ipip]}}},
    "routes": {real's address: a Route's fields, without via if that is the real itself},
    "next_real": counts all places that were given since the tables were made, "lo_forwarding",
    "lo_forwarding_v6": what they were before attach, "hz"}.
    touched: the services changed since it was read, with what they were.
    """

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.touched: dict[str, Any] = {}
        self._used: set[int] | None = None
        self._used_ids: set[int] | None = None
        self._given: set[int] = set()  # places, since it was read

    @classmethod
    def read(cls, path: Path) -> "State":
        """The desired state, empty if nothing was ever said. Raises: NoPermission, XdplbError."""
        raw = read_state(path)
        return cls({**cls.empty().raw, **(raw or {})})  # of an older xdplb, it may lack something

    def write(self, path: Path) -> None:
        """Replace the file."""
        write_state(path, self.raw)

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
                "denied": [],
                "services": {},
                "routes": {},
                "next_real": 1,
                "lo_forwarding": None,
                "lo_forwarding_v6": None,
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
                Real(parse_address(address), weight, last_weight, *map(Tunnel.parse, tunnel))
                for address, (_, weight, last_weight, *tunnel) in raw["reals"].items()
            ),
            limit=raw.get("limit", 0),
            source_limit=raw.get("source_limit", 0),
            source_cidr=parse_prefix(raw["source_cidr"]) if raw.get("source_cidr") else None,
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
        denied = frozenset(map(parse_prefix, self.raw["denied"]))
        return Configuration(MappingProxyType(services), self.timeouts, denied)

    def put_denied(self, prefixes: Iterable[str]) -> None:
        """The deny list from here on. Raises: TableFull."""
        self.raw["denied"] = list(prefixes)
        self._check_denied()

    def _check_denied(self) -> None:
        limit, wanted = self.tunables.max_denied, len(self.raw["denied"])
        if wanted > limit:
            raise TableFull(
                f"{wanted} prefixes to deny are more than {limit}",
                "attach with a larger --tune max_denied=…",
            )

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
                *([] if real.tunnel == IPIP else [str(real.tunnel)]),
            ]
        new = {
            "id": old["id"] if old else self._place_service(),
            "scheduler": service.scheduler,
            "flags": sorted(service.flags),
            "one_packet": service.one_packet,
            "limit": service.limit,
            "source_limit": service.source_limit,
            "source_cidr": str(service.source_cidr or ""),
            "until": old["until"] if old else 0,
            "between": old["between"] if old else [],
            "past": old["past"] if old else {},
            "reals": reals,
        }
        if new == old and list(reals) == list(old["reals"]):  # as IPVS's, rings go by the order
            return
        picks = ("scheduler", "flags")
        if old and (old["until"] or any(old[name] != new[name] for name in picks)):
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
        self._check_denied()
        self._used, self._used_ids, self._given, self.raw["next_real"] = set(), set(), set(), 1
        for service in self.raw["services"].values():
            service.update(id=self._place_service(), until=0, between=[])
            for real in service["reals"].values():
                real[0] = self._place_real()

    def touch(self, key: str) -> None:
        """Remember what a service was before this change."""
        self.touched.setdefault(key, self.raw["services"].get(key))

    def addresses(self) -> set[str]:
        """All reals' addresses, each once."""
        return {a for service in self.raw["services"].values() for a in addresses_of(service)}

    def find_route(self, address: str) -> Route:
        """The way to a real, which is known."""
        route = Route(**self.raw["routes"][address])
        return route if route.via else replace(route, via=address)

    def add_routes(self, found: Mapping[str, Route]) -> None:
        """Remember ways to reals. Neighbours are their own next hops: they share a way without."""
        ways = {id(way): way for way in self.raw["routes"].values()} if found else {}
        known = {tuple(way.values()): way for way in ways.values()}
        for address, route in found.items():
            way = asdict(replace(route, via="") if route.via == address else route)
            self.raw["routes"][address] = known.setdefault(tuple(way.values()), way)

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
        limit = min(self.tunables.max_reals, NOBODY)
        first = self.raw["next_real"]
        for number in range(first, first + limit - 1):
            place = (number - 1) % (limit - 1) + 1
            if number < limit or not self._is_in_use(place):  # the first time round all are free
                self._given.add(place)
                self.raw["next_real"] = number + 1
                return int(place)
        raise TableFull(
            f"there are {limit - 1} reals already, in all services",
            "attach with a larger --tune max_reals=…",
        )

    def _is_in_use(self, place: int) -> bool:
        """Also by a service as it was before this change: the program may use it until then."""
        if self._used is None:
            services = self.raw["services"]
            changed = [old for key, old in self.touched.items() if old and key in services]
            self._used = {p for s in (*services.values(), *changed) for p in places_of(s)}
        return place in self._used or place in self._given
