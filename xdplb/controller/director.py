# SPDX-License-Identifier: MIT
"""Changing and reading a director that is attached."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from xdplb import config, routes
from xdplb.controller.finish import finish, forget_routes, unused
from xdplb.controller.pins import open_tables
from xdplb.controller.readings import Readings
from xdplb.controller.reconcile import Pending, Reconciler
from xdplb.controller.state import State
from xdplb.controller.store import write_bytes, write_json
from xdplb.dataplane.tables import Tables
from xdplb.errors import AlreadyExists, NotFound, UsageError, XdplbError
from xdplb.model import IPIP, Configuration, Real, Service, ServiceKey, Timeouts, Tunnel
from xdplb.net import Address, Prefix, parse_address, sort_prefixes
from xdplb.routes import Route


def find_routes(state: State, addresses: set[str]) -> list[Route]:
    """Learn the ways to reals that are new. Raises: UsageError naming a real without a route."""
    new = sorted(addresses - state.raw["routes"].keys())
    found = routes.resolve(new) if new else {}
    vips = set(state.vips()) if found else set()
    for address, route in found.items():
        source = parse_address(route.source)
        if source.version == 6 and source in vips and not route.local:
            raise UsageError(
                f"real {address} would be sent to from the VIP {source}, not from a DIP",
                f"run: ip address change {source}/128 dev {route.device} preferred_lft 0",
            )
    state.add_routes(found)
    return list(found.values())


def learn_routes(state: State, addresses: set[str]) -> list[Route]:
    """As find_routes(), and have the kernel keep their neighbours resolved."""
    found = find_routes(state, addresses)
    routes.keep_neighbours(found)
    return found


class Director(Readings):
    """One instance; every method is one command's work, begun and ended under the lock."""

    def __init__(self, instance: str = "default") -> None:
        super().__init__(instance)
        self.notes: list[str] = []  # what the operator should hear, though nothing failed

    @contextmanager
    def _opened(self) -> Iterator[tuple[State, Tables]]:
        with self.place.locked():
            state = State.read(self.place.state)
            finish(self.place, state)
            yield state, open_tables(self.place, state)

    @contextmanager
    def changing(self) -> Iterator[State]:
        """Edit the desired state in the block; afterwards the tables follow.

        An exception in the block leaves everything as it was; so does one while the tables follow.
        """
        with self._opened() as (state, tables):
            timeouts, denied = state.raw["timeouts"], state.raw["denied"]
            yield state
            pending = Pending.of(state)
            pending.config = state.raw["timeouts"] != timeouts
            pending.denied = sorted({*denied} ^ {*state.raw["denied"]})
            if not (pending.services or pending.config or pending.denied):
                return
            services = state.raw["services"]
            there = [services[key] for key in pending.services if key in services]
            found = find_routes(state, {address for s in there for address in s["reals"]})
            reconciler = Reconciler(tables, state)
            reconciler.expect_transitions()
            before = self.place.state.read_bytes()
            write_json(self.place.pending, asdict(pending))
            state.write(self.place.state)
            written = _followed(there)
            try:
                routes.keep_neighbours(found)
                if found:
                    tables.put_vlans(routes.vlans())
                reconciler.pending(pending)
            except XdplbError:
                self._take_back(before, tables, pending, found)
                raise
            looked = reconciler.due_transitions()
            if looked:
                reconciler.end_transitions()
            gone = any(
                old["reals"].keys() - services.get(key, {"reals": {}})["reals"].keys()
                for key, old in state.touched.items()
                if old is not None
            )
            if gone:
                forget_routes(state)
            if gone or looked or _followed(there) != written:
                state.write(self.place.state)
            self.place.pending.unlink()

    def _take_back(
        self, before: bytes, tables: Tables, pending: Pending, found: Iterable[Route]
    ) -> None:
        write_bytes(self.place.state, before)
        state = State.read(self.place.state)
        Reconciler(tables, state).pending(pending)
        routes.release_neighbours(unused(found, state))
        self.place.pending.unlink()

    def add_service(self, service: Service) -> None:
        """Raises: AlreadyExists, UsageError, TableFull, NotAttached."""
        config.check_service(service)
        with self.changing() as state:
            if service.key in state:
                raise AlreadyExists(
                    f"service {service.key} exists already", "change it with: xdplb service edit"
                )
            state.put_service(service)
        if service.key.vip not in routes.local_addresses():
            self.notes.append(
                f"VIP {service.key.vip} is on no interface here: unless your routers send it here, "
                f"attach it: xdplb attach INTERFACE --vip {service.key.vip}"
            )

    def edit_service(self, key: ServiceKey, **changes: Any) -> None:
        """Replace fields of a service (model.Service). Raises: NotFound, UsageError."""
        with self.changing() as state:
            old = self._service(state, key)
            new = replace(old, **changes)
            config.check_service(new)
            state.put_service(new)

    def remove_service(self, key: ServiceKey) -> None:
        """Raises: NotFound."""
        with self.changing() as state:
            self._service(state, key)
            state.remove_service(key)

    def flush(self) -> int:
        """Remove all services. Returns: how many there were."""
        with self.changing() as state:
            keys = state.service_keys()
            for key in keys:
                state.remove_service(key)
        return len(keys)

    def add_real(
        self, key: ServiceKey, address: Address, weight: int = 1, tunnel: Tunnel = IPIP
    ) -> None:
        """Raises: NotFound, AlreadyExists, UsageError, TableFull."""
        with self.changing() as state:
            service = self._service(state, key)
            if any(real.address == address for real in service.reals):
                raise AlreadyExists(
                    f"real {address} is in service {key} already",
                    "change its weight with: xdplb server edit",
                )
            real = Real(address, weight, weight, tunnel)
            self._put_reals(state, service, (*service.reals, real))

    def edit_real(
        self,
        key: ServiceKey,
        address: Address,
        weight: int | None = None,
        tunnel: Tunnel | None = None,
    ) -> None:
        """Set a weight, which drains if it is 0, or a tunnel. Raises: NotFound, UsageError."""
        with self.changing() as state:
            service = self._service(state, key)
            old = self._real(service, address)
            new = replace(old, tunnel=tunnel or old.tunnel)
            if weight is not None:
                new = replace(new, weight=weight, last_weight=weight or old.last_weight)
            self._put_reals(
                state, service, tuple(new if real is old else real for real in service.reals)
            )

    def remove_real(self, key: ServiceKey, address: Address) -> None:
        """Remove a real; its flows break unless it was drained. Raises: NotFound."""
        with self.changing() as state:
            service = self._service(state, key)
            self._real(service, address)
            self._put_reals(state, service, tuple(r for r in service.reals if r.address != address))

    def apply(self, wanted: Configuration, *, dry_run: bool = False) -> list[str]:
        """Make the director's configuration this one, in one change. Returns: what differs.

        dry_run: say so, or why it cannot be done, and change nothing.
        """
        if dry_run:
            with self._opened() as (state, _):
                before = _put_configuration(state, wanted)
                find_routes(state, state.addresses())
        else:
            with self.changing() as state:
                before = _put_configuration(state, wanted)
        return config.diff(before, wanted)

    def deny(self, prefixes: Sequence[Prefix]) -> None:
        """Take nothing from these. Raises: AlreadyExists, UsageError, TableFull."""
        config.check_denied(prefixes)
        with self.changing() as state:
            denied = dict.fromkeys(state.raw["denied"])
            for prefix in map(str, prefixes):
                if prefix in denied:
                    raise AlreadyExists(f"prefix {prefix} is denied already", "leave it out")
                denied[prefix] = None
            state.put_denied(denied)

    def admit(self, prefixes: Sequence[Prefix]) -> None:
        """Deny these no longer. Raises: NotFound."""
        with self.changing() as state:
            denied = dict.fromkeys(state.raw["denied"])
            for prefix in map(str, prefixes):
                if prefix not in denied:
                    raise NotFound(f"prefix {prefix} is not denied", "see: xdplb deny list")
                del denied[prefix]
            state.put_denied(denied)

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """Raises: UsageError."""
        config.check_timeouts(timeouts)
        with self.changing() as state:
            state.raw["timeouts"] = asdict(timeouts)

    def zero(self, key: ServiceKey | None = None) -> None:
        """Set the counters of a service and its reals to zero; without a key, all there are."""
        with self._opened() as (state, tables):
            for each in [key] if key else state.service_keys():
                self._service(state, each)
                state.raw["services"][str(each)]["past"] = {}
                for index in state.real_indices(each):
                    tables.real_stats.clear_cpus(index)
            if key is None:
                tables.counters.clear_cpus(0)
            state.write(self.place.state)

    @staticmethod
    def _service(state: State, key: ServiceKey) -> Service:
        if key not in state:
            raise NotFound(f"service {key} does not exist", "see: xdplb list")
        return state.service(key)

    @staticmethod
    def _real(service: Service, address: Address) -> Real:
        for real in service.reals:
            if real.address == address:
                return real
        raise NotFound(f"real {address} is not in service {service.key}", "see: xdplb list")

    @staticmethod
    def _put_reals(state: State, service: Service, reals: tuple[Real, ...]) -> None:
        new = replace(service, reals=reals)
        config.check_service(new)
        state.put_service(new)


def _put_configuration(state: State, wanted: Configuration) -> Configuration:
    """Returns: what it was before."""
    before = state.configuration()
    wanted = config.carry_last_weights(before, wanted)
    for key in before.services.keys() - wanted.services.keys():
        state.remove_service(key)
    for service in wanted.services.values():
        state.put_service(service)
    services = state.raw["services"]
    state.raw["services"] = {str(key): services[str(key)] for key in wanted.services}
    state.raw["timeouts"] = asdict(wanted.timeouts)
    state.put_denied(map(str, sort_prefixes(wanted.denied)))
    return before


def _followed(services: Iterable[Mapping[str, Any]]) -> list[Any]:
    """What only shows when the tables follow, of services that change."""
    return [(s["until"], list(s["between"]), dict(s["past"])) for s in services]
