# SPDX-License-Identifier: MIT
"""What one director knows: wanted, allocated, attached, in transition, found. Values, no I/O.

    wanted       what the operator configured: `save` writes it, `apply` takes it
    allocated    the places of services and reals in the tables
    attached     the tables and programs in force, and the interfaces that run them; None: detached
    transitions  the services whose rings still have previous owners
    found        what was found out of reals; effective weight = configured × found
    removed      what the removed reals of a service had counted
    routes       the ways to the reals

`director/state_file.py` reads and writes all of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from xdplb.director.allocation import Allocation, KeptIndices
from xdplb.director.routes import Routes
from xdplb.director.services import Services
from xdplb.errors import TableFull
from xdplb.kernel.clock import Clock
from xdplb.model.address import Address, Prefix, parse_prefix, sort_addresses
from xdplb.model.configuration import Configuration, Timeouts
from xdplb.model.service import OPERATOR, Real, Service, ServiceKey
from xdplb.model.tunables import Tunables


@dataclass
class Wanted:
    """What the operator configured.

    vips: each with the interface that it shall be on; "": the first one that is attached. denied:
    prefixes as text, because every command reads them and few look at them.
    """

    tunables: Tunables = field(default_factory=Tunables)
    timeouts: Timeouts = field(default_factory=Timeouts)
    vips: dict[Address, str] = field(default_factory=dict)
    denied: list[str] = field(default_factory=list)
    services: Services = field(default_factory=Services)


@dataclass
class Attached:
    """What is loaded.

    layout: the directory of the tables. programs: the directory of the programs, below it. hz: the
    kernel's. tables: BCC's descriptions by name. map_ids: the kernel's ids of the tables, by name.
    interfaces: the mode (auto, native, generic) by name.
    """

    layout: str
    programs: str
    hz: int
    tables: dict[str, Any]
    map_ids: dict[str, int]
    interfaces: dict[str, str]

    @property
    def clock(self) -> Clock:
        """The ticks that the program counts in."""
        return Clock(self.hz)


@dataclass
class Transition:
    """A service's ring has previous owners.

    until: when to look whether it can end, in seconds of CLOCK_BOOTTIME. between: indices of reals
    that may have recorded flows in slots that were not theirs before or after.
    """

    until: int
    between: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Before:
    """What a changed service was before the change; service None: it is new."""

    service: Service | None
    id: int = 0
    indices: tuple[int, ...] = ()


@dataclass
class State:
    """All of it. `touched`: what the services were that changed since the state was read.

    `touched_vips`: whether the interfaces shall get the VIPs that are wanted.
    """

    wanted: Wanted = field(default_factory=Wanted)
    allocated: Allocation = field(default_factory=Allocation)
    attached: Attached | None = None
    transitions: dict[ServiceKey, Transition] = field(default_factory=dict)
    found: dict[ServiceKey, dict[str, int]] = field(default_factory=dict)
    removed: dict[ServiceKey, dict[str, int]] = field(default_factory=dict)
    routes: Routes = field(default_factory=Routes)

    def __post_init__(self) -> None:
        self.touched: dict[ServiceKey, Before] = {}
        self.touched_vips = False
        self._kept = KeptIndices(self.allocated)
        self._known: dict[ServiceKey, tuple[Service, set[Address]]] = {}  # see has_real()

    @property
    def clock(self) -> Clock:
        """The ticks of the program that is attached."""
        assert self.attached is not None, "a detached director has no clock"
        return self.attached.clock

    # ---- services ----------------------------------------------------------------------------

    def put_service(self, service: Service) -> None:
        """Add a service or change it; new reals get their indices. Raises: TableFull."""
        key, services = service.key, self.wanted.services
        old = services.get(key)
        if old == service:
            return
        self.touch(key)
        tunables = self.wanted.tunables
        if old is None:
            self.allocated.take_id(key, tunables.max_services)
        had: dict[Address, int] = {}
        if old is not None:
            had = dict(zip(_addresses(old), self.allocated.indices(key), strict=True))
        self.allocated.reals[key] = [
            had[address]
            if address in had
            else self.allocated.take_index(tunables.max_reals, self._kept)
            for address in _addresses(service)
        ]
        services[key] = service
        self._remember_between(key, old, service)

    def has_real(self, key: ServiceKey, address: Address) -> bool:
        """Whether a service has a real of this address. It is asked before each of thousands."""
        service, known = self.wanted.services[key], self._known.get(key)
        if known is None or known[0] is not service:
            known = self._known[key] = (service, {real.address for real in service.reals})
        return address in known[1]

    def add_real(self, key: ServiceKey, real: Real) -> None:
        """Add one real at the end, without looking at the others. Raises: TableFull."""
        service = self.wanted.services[key]
        self.touch(key)
        index = self.allocated.take_index(self.wanted.tunables.max_reals, self._kept)
        self.allocated.reals[key] = [*self.allocated.indices(key), index]
        self.wanted.services[key] = new = replace(service, reals=(*service.reals, real))
        if key in self._known and self._known[key][0] is service:
            self._known[key][1].add(real.address)
            self._known[key] = (new, self._known[key][1])
        self._remember_between(key, service, new)

    def _remember_between(self, key: ServiceKey, old: Service | None, new: Service) -> None:
        """In a transition, the reals of the time between may have recorded flows anywhere."""
        if old is None:
            return
        moving = self.transitions.get(key)
        if moving is None and (old.scheduler, old.flags) != (new.scheduler, new.flags):
            moving = self.transitions[key] = Transition(0)
        if moving is not None:
            moving.between = sorted({*moving.between, *self.touched[key].indices})

    def remove_service(self, key: ServiceKey) -> None:
        """Remove a service that is there."""
        self.touch(key)
        del self.wanted.services[key]
        self.allocated.forget(key)
        for facts in (self.transitions, self.found, self.removed):
            facts.pop(key, None)

    def touch(self, key: ServiceKey) -> None:
        """Remember what a service was before this change."""
        if key in self.touched:
            return
        service = self.wanted.services.get(key)
        if service is None:
            self.touched[key] = Before(None)
            return
        indices = tuple(self.allocated.indices(key))
        self.touched[key] = Before(service, self.allocated.id_of(key), indices)
        self._kept.keep(indices)

    def effective(self, key: ServiceKey) -> Service:
        """A service with its effective weights: configured × found (percent), at least 1 of any."""
        service, found = self.wanted.services[key], self.found.get(key)
        if not found:
            return service
        return replace(
            service,
            reals=tuple(
                replace(real, weight=weigh(real.weight, found.get(str(real.address), 100)))
                for real in service.reals
            ),
        )

    # ---- the rest ----------------------------------------------------------------------------

    def configuration(self) -> Configuration:
        """All that the operator said."""
        services = {
            key: service
            for key, service in self.wanted.services.items()
            if service.owner == OPERATOR
        }
        return Configuration(
            MappingProxyType(services),
            self.wanted.timeouts,
            frozenset(self.denied_prefixes()),
            MappingProxyType(dict(self.wanted.vips)),
        )

    def denied_prefixes(self) -> list[Prefix]:
        """The deny list, in the order in which it was given."""
        return list(map(parse_prefix, self.wanted.denied))

    def put_denied(self, prefixes: Iterable[str]) -> None:
        """The deny list from here on. Raises: TableFull."""
        self.wanted.denied = list(prefixes)
        limit, wanted = self.wanted.tunables.max_denied, len(self.wanted.denied)
        if wanted > limit:
            raise TableFull(
                f"{wanted} prefixes to deny are more than {limit}",
                "attach with a larger --tune max_denied=…",
            )

    def renew_places(self) -> None:
        """Give all new places, for tables that were just made. Raises: TableFull."""
        tunables = self.wanted.tunables
        self.put_denied(self.wanted.denied)
        self.allocated.renew(
            ((key, len(self.wanted.services.addresses(key))) for key in self.wanted.services),
            (tunables.max_services, tunables.max_reals),
        )
        self.transitions = {}

    def addresses(self) -> set[str]:
        """All reals' addresses, each once."""
        services = self.wanted.services
        return {address for key in services for address in services.addresses(key)}

    def vips(self) -> list[Address]:
        """The wanted VIPs and those of services, each once."""
        return sort_addresses({*self.wanted.vips, *(key.vip for key in self.wanted.services)})


def weigh(weight: int, percent: int) -> int:
    """An effective weight. What is drained stays so, and what is not keeps at least 1."""
    if not weight or not percent:
        return 0
    return max(1, weight * percent // 100)


def _addresses(service: Service) -> Mapping[Address, None]:
    return dict.fromkeys(real.address for real in service.reals)
