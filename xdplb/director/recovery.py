# SPDX-License-Identifier: MIT
"""Finishing, or undoing, what a command that was killed had begun.

The next command of any kind that changes something finds the journal. It brings tables and machine
to the state; if that fails, it brings them to the state before. If that fails too, the journal
stays, and `status` says why. Nothing waits for it: attach and detach write everything anew.
"""

from collections.abc import Collection
from contextlib import suppress

from xdplb.director import files, machine, real_routes, state_file, store
from xdplb.director.instance import Instance
from xdplb.director.journal import Journal
from xdplb.director.pruning import prune
from xdplb.director.state import State
from xdplb.director.table_writer import TableWriter
from xdplb.errors import NotFound, XdplbError
from xdplb.host import neighbours, vlans
from xdplb.kernel.tables import Tables
from xdplb.model.service import ServiceKey


def recover(instance: Instance) -> State:
    """The instance's state, with nothing left half done as far as this machine allows.

    Call it under the lock. Raises: NoPermission; Damaged.
    """
    for unfinished in instance.run.glob("*.new"):
        unfinished.unlink()
    state = store.read_state(instance)
    journal = Journal.read(instance)
    if journal is None:
        instance.before.unlink(missing_ok=True)
        if not store.is_read_back(instance):
            return state
        journal = Journal(machine=True)  # the tables may be one change ahead of the copy
    failures: list[XdplbError] = []
    before: State | None = None
    with suppress(XdplbError):
        before = read_before(instance)
    asked = _interfaces(state) - _interfaces(before or state)
    for found in filter(None, (state, before)):
        try:
            follow(instance, found, journal, asked)
        except XdplbError as error:
            failures.append(error)
            continue
        Journal.end(instance)
        return found
    journal.failed = failures[0].what
    with suppress(XdplbError):
        journal.write(instance)
    return state


def read_before(instance: Instance) -> State:
    """The state before the unfinished change. Raises: NotFound, Damaged."""
    content = files.read_bytes(instance.before)
    if content is None:  # the state was read back from its copy: nothing tells the one before
        raise NotFound(f"{instance.before} is gone")
    return state_file.decode(content, str(instance.before))


def _interfaces(state: State) -> set[str]:
    return set(state.attached.interfaces) if state.attached else set()


def follow(instance: Instance, state: State, journal: Journal, asked: Collection[str] = ()) -> None:
    """Bring tables and machine to a state, and write it; asked: see machine.follow().

    Raises: XdplbError.
    """
    tables: Tables | None = None
    if state.attached:
        tables = store.open_tables(instance, state)
        writer = TableWriter(tables, state)
        keys = {ServiceKey.parse(text) for text in journal.services}
        there = keys & set(state.wanted.services) if journal.services else state.wanted.services
        needed = real_routes.learn(state, state.addresses())
        needed |= real_routes.hops_of(state, state.addresses())
        neighbours.keep_neighbours(needed)
        tables.put_vlans(vlans.vlans())
        writer.config()
        for vip in state.vips():
            writer.lookups.add_vip(vip)
        writer.services(there)
        prune(writer)
    if journal.machine:
        machine.follow(instance, state, tables, asked)
        machine.sweep(instance, state)
    real_routes.release(instance, state, journal.hops)
    store.finish_state(instance, state)
