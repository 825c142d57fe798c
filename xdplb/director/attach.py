# SPDX-License-Identifier: MIT
"""Attaching a director to interfaces, and upgrading it in place.

Everything is made ready beside what is in force: the tables of a new layout and the new programs
have directories of their own. Then the state names them, and the machine follows. If a command is
killed before that, the next one removes what was made; after it, the next one finishes.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from xdplb.director import machine, real_routes, recovery, store
from xdplb.director.instance import Instance
from xdplb.director.journal import Journal
from xdplb.director.pruning import prune
from xdplb.director.state import Attached, State
from xdplb.director.table_writer import TableWriter
from xdplb.director.transaction import undone_if_it_fails
from xdplb.director.vips import check_unanswered, check_vip, place_vips
from xdplb.errors import Conflict, XdplbError
from xdplb.host import directories, interfaces, neighbours, vlans
from xdplb.kernel import clock, libbpf, loader, program_cache, program_text, xdp_link
from xdplb.kernel.bpffs import check_bpffs
from xdplb.kernel.compiled import Compiled
from xdplb.kernel.tables import Tables
from xdplb.model.address import Address
from xdplb.model.schedulers import check_ring_slots
from xdplb.model.tunables import Tunables, check_tunables


@dataclass(frozen=True)
class Result:
    """What attach() did, for the operator."""

    modes: Mapping[str, str]
    added_vips: tuple[Address, ...]
    upgraded: frozenset[str]  # the interfaces that had a director
    flows_kept: bool
    notes: tuple[str, ...]  # what the operator should hear, though nothing failed


def attach(
    instance: Instance,
    ifnames: Sequence[str],
    vips: Sequence[Address],
    mode: str,
    sizes: Mapping[str, int],
) -> Result:
    """Load, pin and attach; on interfaces that have a director, upgrade it in place.

    sizes: those of the tunables that shall change. Raises: NotFound, InterfaceBusy, MissingPart,
    NoPermission, UsageError, Conflict; then everything is as it was.
    """
    check_bpffs()
    for vip in vips:
        check_vip(vip)
    for name in ifnames:
        if interfaces.is_loopback(name):
            raise Conflict(
                f"interface {name} gets no packets from other hosts",
                "name one that clients' packets come in by",
            )
    state = store.read_state(instance)
    tunables = _tunables(state, sizes)
    if tunables != state.wanted.tunables:  # see that all fits, before anything is compiled
        state.wanted.tunables = tunables
        state.renew_places()
    compiled = program_cache.director(tunables, clock.running_clock())  # not under the lock
    check_unanswered(
        vips,
        ifnames[0],
        "take it off there, or attach without it and add it all the same: "
        f"xdplb vip add --force {' '.join(map(str, vips[:1]))}",
    )
    with instance.locked(new=True):
        state = recovery.recover(instance)
        if tunables != _tunables(state, sizes):  # another attach came between
            tunables = _tunables(state, sizes)
            compiled = program_cache.director(tunables, clock.running_clock())
        _check_modes(state, ifnames, mode)
        _check_orphan(instance, state)
        return _attach(instance, state, compiled, ifnames, vips, mode, tunables)


def _tunables(state: State, sizes: Mapping[str, int]) -> Tunables:
    tunables = replace(state.wanted.tunables, **sizes)
    check_tunables(tunables)
    check_ring_slots(tunables.ring_slots)
    return tunables


def _check_orphan(instance: Instance, state: State) -> None:
    """Never empty a director that forwards, though nobody knows its state. Raises: Conflict."""
    for name, pin in instance.links().items():
        link = xdp_link.info(pin)
        if state.attached is None and link is not None and link.ifindex:
            raise Conflict(
                f"a director forwards on {name}, and its state is lost (it was in {instance.run})",
                f"it goes on until you take it off: xdplb detach {name}",
            )


def _check_modes(state: State, ifnames: Sequence[str], mode: str) -> None:
    for name in ifnames:
        found = state.attached.interfaces.get(name, mode) if state.attached else mode
        if "auto" not in (mode, found) and found != mode:
            raise Conflict(
                f"interface {name} is attached in {found} mode",
                f"detach it first: xdplb detach {name}",
            )


def _attach(
    instance: Instance,
    state: State,
    compiled: Compiled,
    ifnames: Sequence[str],
    vips: Sequence[Address],
    mode: str,
    tunables: Tunables,
) -> Result:
    old = state.attached
    modes = dict(old.interfaces) if old else {}
    for name in ifnames:
        modes.setdefault(name, mode)
    place_vips(state, vips, "" if next(iter(modes)) == ifnames[0] else ifnames[0])
    real_routes.learn_local(state)
    needed = real_routes.learn(state, state.addresses())
    needed |= real_routes.hops_of(state, state.addresses())
    journal = Journal(hops=sorted(needed), machine=True)
    with undone_if_it_fails(instance, journal):
        neighbours.keep_neighbours(needed)
        tables, kept = _load(instance, state, compiled, tunables, modes)
        attached = state.attached
        assert attached is not None
        if not kept:
            _fill(tables, state)
        store.write_state(instance, state)
        if kept:
            _fill(tables, state)
        added = machine.follow(instance, state, tables, ifnames)
        store.finish_state(instance, state)
    machine.sweep(instance, state)
    Journal.end(instance)
    machine.announce([*added, *vips])
    return Result(
        dict(attached.interfaces),
        tuple(added),
        frozenset(old.interfaces) if old else frozenset(),
        old is None or kept,
        tuple(notes_on_vlans(attached.interfaces)),
    )


def _load(
    instance: Instance,
    state: State,
    compiled: Compiled,
    tunables: Tunables,
    modes: Mapping[str, str],
) -> tuple[Tables, bool]:
    """Load the programs over tables of their layout: those in force if it stays, else new ones.

    Returns: the tables, and whether they are those in force.
    """
    old, frags = state.attached, interfaces.has_jumbo_frames(modes)
    layout = program_text.layout_hash(tunables, frags=frags)
    directory = instance.layout(layout)
    kept = old is not None and old.layout == layout and _is_whole(instance, state)
    if not kept:
        shutil.rmtree(directory, ignore_errors=True)  # what a killed command left
        directories.make(instance.pins)
        directories.make(directory)
    program = loader.load(compiled, directory, frags=frags)
    try:
        programs = directory / f"programs_{libbpf.prog_info(program.fd).id}"
        directories.make(programs)
        for name, fd in program.functions.items():
            libbpf.obj_pin(fd, programs / name)
    finally:
        program.close()
    tables = Tables(directory, program.tables)
    state.wanted.tunables = tunables
    state.attached = Attached(
        layout,
        programs.name,
        clock.running_clock().hz,
        dict(program.tables),
        {name: table.id for name, table in tables},
        dict(modes),
    )
    if not kept:
        state.renew_places()
    return tables, kept


def _is_whole(instance: Instance, state: State) -> bool:
    """Whether the tables in force are there, and nobody has replaced one."""
    with suppress(XdplbError):
        store.open_tables(instance, state).close()
        return True
    return False


def _fill(tables: Tables, state: State) -> None:
    tables.put_vlans(vlans.vlans())
    writer = TableWriter(tables, state)
    writer.all()
    prune(writer)


def notes_on_vlans(attached: Mapping[str, str]) -> Iterator[str]:
    """Where a tag that the driver took off is missed. In generic mode the kernel still has it
    beside the frame, and puts it on again, before the one that the program has put there.
    """
    lost = {
        "native": "clients in its VLANs do not hear of packets that are too big",
        "generic": "packets in its VLANs leave with two tags, and are lost",
    }
    parents = {vlan.parent for vlan in vlans.vlans().values()}
    for name, mode in attached.items():
        if (
            interfaces.exists(name)
            and interfaces.ifindex(name) in parents
            and interfaces.strips_tags(name)
        ):
            yield (
                f"the driver of {name} takes VLAN tags off: {lost[mode]}; "
                f"mend it: ethtool -K {name} rxvlan off"
            )
