# SPDX-License-Identifier: MIT
"""One change of a director: edit the state, then let the tables follow; or leave all as it was."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from xdplb.director import machine, real_routes, recovery, store
from xdplb.director.instance import Instance
from xdplb.director.journal import Journal
from xdplb.director.state import State
from xdplb.director.table_writer import TableWriter
from xdplb.errors import XdplbError
from xdplb.host import neighbours, vlans
from xdplb.kernel.tables import Tables
from xdplb.model.address import Address


class Transaction:
    """A state being edited, and the tables that will follow it."""

    def __init__(self, instance: Instance, state: State, tables: Tables) -> None:
        self.instance = instance
        self.state = state
        self.tables = tables
        self._timeouts = state.wanted.timeouts
        self._denied = set(state.wanted.denied)
        self._order = list(state.wanted.services)

    def commit(self) -> list[Address]:
        """Let the tables and the machine follow. Returns: the VIPs that were added.

        Raises: XdplbError; then everything is as it was.
        """
        state, instance = self.state, self.instance
        denied = self._denied ^ set(state.wanted.denied)
        config_changed = self._timeouts != state.wanted.timeouts
        if not (
            state.touched or denied or state.touched_vips or config_changed or self._reordered()
        ):
            return []
        there = [key for key in state.touched if key in state.wanted.services]
        found = real_routes.learn(
            state, {a for k in there for a in state.wanted.services.addresses(k)}
        )
        unused = real_routes.forget(state) if self._lost_reals() else set()
        journal = Journal(
            sorted(map(str, state.touched)), sorted(found | unused), state.touched_vips
        )
        writer = TableWriter(self.tables, state)
        writer.rings.expect()
        with undone_if_it_fails(instance, journal):
            store.write_state(instance, state)
            neighbours.keep_neighbours(found)
            if found:
                self.tables.put_vlans(vlans.vlans())
            if config_changed:
                writer.config()
            if denied:
                writer.deny(sorted(denied))
            for vip in state.wanted.vips:
                writer.lookups.add_vip(vip)
            writer.follow()
            added = self._follow_vips(writer) if state.touched_vips else []
            writer.rings.end_due()
            real_routes.release(instance, state, unused)
            store.finish_state(instance, state)
        Journal.end(instance)
        return added

    def _follow_vips(self, writer: TableWriter) -> list[Address]:
        """VIPs come and go. A real may have been one, and so this host itself."""
        state = self.state
        added = machine.follow(self.instance, state, self.tables)
        writer.lookups.keep_vips(state.vips())
        moved = real_routes.learn_local(state)
        if moved:
            neighbours.keep_neighbours(real_routes.hops_of(state, moved))
            services = state.wanted.services
            writer.services([k for k in services if moved & {*services.addresses(k)}])
        return added

    def _reordered(self) -> bool:
        return self._order != list(self.state.wanted.services)

    def _lost_reals(self) -> bool:
        services = self.state.wanted.services
        return any(
            set(old.indices) - set(self.state.allocated.indices(key) if key in services else ())
            for key, old in self.state.touched.items()
        )


@contextmanager
def undone_if_it_fails(instance: Instance, journal: Journal) -> Iterator[None]:
    """Begin a journal, and make the change in the block. The caller ends the journal.

    If the block fails, all goes back to the state before. If that fails too, the journal stays for
    the next command. Raises: XdplbError.
    """
    journal.begin(instance)
    try:
        yield
    except BaseException:
        with suppress(XdplbError):
            recovery.follow(instance, recovery.read_before(instance), journal)
            Journal.end(instance)
        raise


@contextmanager
def transaction(instance: Instance) -> Iterator[Transaction]:
    """Edit the state in the block; afterwards tables and machine follow, in commit().

    An exception in the block leaves everything as it was. Raises: NotAttached, NoPermission, …
    """
    with instance.locked():
        state = recovery.recover(instance)
        tables = store.open_tables(instance, state)
        try:
            yield Transaction(instance, state, tables)
        finally:
            tables.close()
