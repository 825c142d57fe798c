# SPDX-License-Identifier: MIT
"""Changing a director that is attached: what the commands call."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from xdplb.director import machine, real_routes, store
from xdplb.director.instance import Instance
from xdplb.director.state import State
from xdplb.director.transaction import Transaction, transaction
from xdplb.director.vips import check_unanswered, check_vip
from xdplb.errors import AlreadyExists, Conflict, NotFound
from xdplb.host import addresses
from xdplb.model import checks, difference
from xdplb.model.address import Address, Prefix, sort_prefixes
from xdplb.model.configuration import Configuration
from xdplb.model.service import OPERATOR, Real, Service, ServiceKey
from xdplb.model.tunnel import IPIP, Tunnel


class Director:
    """One instance. Each method is one command's work, begun and ended under the lock.

    Within `batch()`, all of them together are one change.
    """

    def __init__(self, name: str = "default") -> None:
        self.instance = Instance(name)
        self.notes: list[str] = []  # what the operator should hear, though nothing failed
        self._open: Transaction | None = None

    @contextmanager
    def opened(self) -> Iterator[Transaction]:
        """The state, to be edited, and its tables. Raises: NotAttached, …"""
        if self._open is not None:
            yield self._open
            return
        with transaction(self.instance) as opened:
            yield opened

    @contextmanager
    def changing(self) -> Iterator[State]:
        """Edit the state in the block; afterwards the tables follow. An error changes nothing."""
        with self.opened() as change:
            yield change.state
            if self._open is None:
                self._announce(change.commit())

    @contextmanager
    def batch(self) -> Iterator[None]:
        """All changes in the block are one."""
        with transaction(self.instance) as change:
            self._open = change
            try:
                yield
            finally:
                self._open = None
            self._announce(change.commit())

    @staticmethod
    def _announce(added: list[Address]) -> None:
        machine.announce(added)

    # ---- services ----------------------------------------------------------------------------

    def add_service(self, service: Service) -> None:
        """Raises: AlreadyExists, UsageError, TableFull, NotAttached."""
        checks.check_service(service)
        with self.changing() as state:
            if service.key in state.wanted.services:
                raise AlreadyExists(
                    f"service {service.key} exists already", "change it with: xdplb service edit"
                )
            vip = service.key.vip
            addresses.check_no_network(vip, "VIP")
            state.put_service(service)
            self._note_source(service)
            if vip not in state.wanted.vips and vip not in addresses.local_addresses():
                self.notes.append(
                    f"VIP {vip} is on no interface here: unless your routers send it here, "
                    f"add it: xdplb vip add {vip}"
                )

    def edit_service(self, key: ServiceKey, **changes: Any) -> None:
        """Replace fields of a service (model.Service). Raises: NotFound, UsageError."""
        with self.changing() as state:
            new = replace(find_service(state, key), **changes)
            checks.check_service(new)
            state.put_service(new)
            if "source_cidr" in changes:
                self._note_source(new)

    def _note_source(self, service: Service) -> None:
        if service.source_cidr:
            self.notes.append(
                f"the reals of {service.key} must accept tunnels from {service.source_cidr}: xdplb "
                f"realserver setup --vip {service.key.vip} --director {service.source_cidr}"
            )

    def _note_drained(self, service: Service) -> None:
        if service.reals and not any(real.weight for real in service.reals):
            self.notes.append(
                f"no real of {service.key} has a weight: new connections are dropped (drop_no_real)"
            )

    def remove_service(self, key: ServiceKey) -> None:
        """Raises: NotFound."""
        with self.changing() as state:
            find_service(state, key)
            state.remove_service(key)

    def flush(self) -> int:
        """Remove all services of the operator. Returns: how many there were."""
        with self.changing() as state:
            keys = [k for k, s in state.wanted.services.items() if s.owner == OPERATOR]
            for key in keys:
                state.remove_service(key)
        return len(keys)

    # ---- reals -------------------------------------------------------------------------------

    def add_real(
        self, key: ServiceKey, address: Address, weight: int = 1, tunnel: Tunnel = IPIP
    ) -> None:
        """Raises: NotFound, AlreadyExists, UsageError, TableFull."""
        with self.changing() as state:
            service = find_service(state, key)
            if state.has_real(key, address):
                raise AlreadyExists(
                    f"real {address} is in service {key} already",
                    "change its weight with: xdplb server edit",
                )
            real = Real(address, weight, weight, tunnel)
            checks.check_service(replace(service, reals=(real,)))
            state.add_real(key, real)
        route = state.routes.get(str(address))
        if route is not None and route.local:
            self.notes.append(
                f"real {address} is this host itself: its packets go to the kernel (pass_local)"
            )

    def edit_real(
        self,
        key: ServiceKey,
        address: Address,
        weight: int | None = None,
        tunnel: Tunnel | None = None,
    ) -> None:
        """Set a weight, which drains if it is 0, or a tunnel. Raises: NotFound, UsageError."""
        with self.changing() as state:
            service = find_service(state, key)
            old = _find_real(service, address)
            new = replace(old, tunnel=tunnel or old.tunnel)
            if weight is not None:
                new = replace(new, weight=weight, last_weight=weight or old.last_weight)
            self._put_reals(
                state, service, tuple(new if real is old else real for real in service.reals)
            )

    def remove_real(self, key: ServiceKey, address: Address) -> None:
        """Remove a real; its flows break unless it was drained. Raises: NotFound."""
        with self.changing() as state:
            service = find_service(state, key)
            _find_real(service, address)
            self._put_reals(state, service, tuple(r for r in service.reals if r.address != address))

    def _put_reals(self, state: State, service: Service, reals: tuple[Real, ...]) -> None:
        new = replace(service, reals=reals)
        checks.check_service(new)
        state.put_service(new)
        self._note_drained(new)

    # ---- the whole configuration ---------------------------------------------------------------

    def apply(
        self, wanted: Configuration, *, dry_run: bool = False, allow_empty: bool = False
    ) -> list[str]:
        """Make the director's configuration this one, in one change. Returns: what differs.

        dry_run: say so, or why it cannot be done, and change nothing. allow_empty: a configuration
        without services may replace one that has some. Raises: Conflict, TableFull, …
        """
        with self.opened() as change:
            before = _put_configuration(change.state, wanted, allow_empty=allow_empty)
            _check_new_vips(change.state, before)
            if dry_run:
                real_routes.learn(change.state, change.state.addresses())
            elif self._open is None:
                self._announce(change.commit())
        return difference.diff(before, wanted)

    # ---- VIPs --------------------------------------------------------------------------------

    def add_vip(self, vip: Address, device: str = "", *, force: bool = False) -> str:
        """Want a VIP, and have it on an interface ("": the first that is attached) if none has it.

        Unless `force`, ask the link first whether another host answers for it. Returns: the
        interface. Raises: AlreadyExists, NotFound, Conflict naming who answers.
        """
        check_vip(vip)
        with self.changing() as state:
            assert state.attached is not None, "only an attached director is opened"
            if vip in state.wanted.vips and vip in addresses.local_addresses():
                raise AlreadyExists(f"VIP {vip} is there already", "see: xdplb vip list")
            place = device or next(iter(state.attached.interfaces))
            if place not in state.attached.interfaces:
                raise NotFound(
                    f"no director is attached to interface '{place}'", f"xdplb attach {place}"
                )
            if not force:
                again = f"--force{f' --dev {device}' if device else ''} {vip}"
                check_unanswered(
                    [vip],
                    place,
                    "take it off there (on a real server: xdplb realserver setup), or add it "
                    f"all the same: xdplb vip add {again}",
                )
            state.wanted.vips[vip], state.touched_vips = device, True
        return place

    def remove_vip(self, vip: Address) -> int:
        """Want a VIP no longer. Returns: how many services still have it. Raises: NotFound."""
        with self.changing() as state:
            if vip not in state.wanted.vips:
                raise NotFound(f"VIP {vip} was not added", "see: xdplb vip list")
            del state.wanted.vips[vip]
            state.touched_vips = True
            return sum(key.vip == vip for key in state.wanted.services)

    # ---- denied prefixes, timeouts, counters ---------------------------------------------------

    def deny(self, prefixes: Sequence[Prefix]) -> None:
        """Take nothing from these. Raises: AlreadyExists, UsageError, TableFull."""
        checks.check_denied(prefixes)
        with self.changing() as state:
            denied = dict.fromkeys(state.wanted.denied)
            for prefix in map(str, prefixes):
                if prefix in denied:
                    raise AlreadyExists(f"prefix {prefix} is denied already", "leave it out")
                denied[prefix] = None
            state.put_denied(denied)

    def allow(self, prefixes: Sequence[Prefix]) -> None:
        """Deny these no longer. Raises: NotFound."""
        with self.changing() as state:
            denied = dict.fromkeys(state.wanted.denied)
            for prefix in map(str, prefixes):
                if prefix not in denied:
                    raise NotFound(f"prefix {prefix} is not denied", "see: xdplb deny list")
                del denied[prefix]
            state.put_denied(denied)

    def set_timeouts(self, **seconds: int | None) -> None:
        """Set idle times (tcp, tcpfin, udp); None leaves one as it is. Raises: UsageError."""
        given = {name: value for name, value in seconds.items() if value is not None}
        with self.changing() as state:
            timeouts = replace(state.wanted.timeouts, **given)
            checks.check_timeouts(timeouts)
            state.wanted.timeouts = timeouts

    def zero(self, key: ServiceKey | None = None) -> None:
        """Count a service and its reals from zero; without a key, everything. Raises: NotFound."""
        with self.opened() as change:
            state, tables = change.state, change.tables
            keys = [key] if key else list(state.wanted.services)
            for each in keys:
                if each not in state.wanted.services:
                    raise missing_service(each)
                state.removed.pop(each, None)
            if self._open is None:
                store.write_state(self.instance, state)
            for each in keys:
                for index in state.allocated.indices(each):
                    tables.real_stats.clear_cpus(index)
            if key is None:
                tables.counters.clear_cpus(0)


def _check_new_vips(state: State, before: Configuration) -> None:
    """Ask whether other hosts answer for VIPs that are new. Raises: Conflict, which says who."""
    attached, had = state.attached, before.vips or {}
    assert attached is not None, "only an attached director is opened"
    new = [vip for vip in state.wanted.vips if vip not in had]
    for device in attached.interfaces:
        place = {"", device} if device == next(iter(attached.interfaces)) else {device}
        here = [vip for vip in new if state.wanted.vips[vip] in place]
        check_unanswered(
            here, device, "take it off there, or add it before: xdplb vip add --force ADDRESS"
        )


def missing_service(key: ServiceKey) -> NotFound:
    """The error for a service that is not there."""
    return NotFound(f"service {key} does not exist", "see: xdplb list")


def find_service(state: State, key: ServiceKey) -> Service:
    """A service that the operator may change. Raises: NotFound, Conflict."""
    service = state.wanted.services.get(key)
    if service is None:
        raise missing_service(key)
    if service.owner != OPERATOR:
        raise Conflict(
            f"service {key} belongs to {service.owner}, which alone changes it",
            "change it there",
        )
    return service


def _find_real(service: Service, address: Address) -> Real:
    for real in service.reals:
        if real.address == address:
            return real
    raise NotFound(f"real {address} is not in service {service.key}", "see: xdplb list")


def _put_configuration(state: State, wanted: Configuration, *, allow_empty: bool) -> Configuration:
    """Returns: what it was before. Services of other owners stay."""
    before = state.configuration()
    if before.services and not wanted.services and not allow_empty:
        raise Conflict(
            f"this configuration has no service, and would remove {len(before.services)} service"
            f"{'' if len(before.services) == 1 else 's'}",
            "mend it, or give --allow-empty",
        )
    wanted = difference.carry_last_weights(before, wanted)
    for key in before.services.keys() - wanted.services.keys():
        state.remove_service(key)
    for service in wanted.services.values():
        state.put_service(service)
    others = [key for key in state.wanted.services if key not in wanted.services]
    state.wanted.services.reorder(iter([*wanted.services, *others]))
    state.wanted.timeouts = wanted.timeouts
    state.put_denied(map(str, sort_prefixes(wanted.denied)))
    if wanted.vips is not None:
        for vip in wanted.vips:
            check_vip(vip)
        state.touched_vips = state.wanted.vips != wanted.vips
        state.wanted.vips = dict(wanted.vips)
    return before
