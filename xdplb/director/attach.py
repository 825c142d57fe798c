# SPDX-License-Identifier: MIT
"""Attaching a director to interfaces, upgrading it in place, and detaching it.

Everything is made ready beside what is in force: a new layout's tables have a directory of their
own, and are filled there. Then the state names it, and the interfaces follow: whoever is killed
before has changed nothing, and after, the next command finishes.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from xdplb.director import pins, xdp_links
from xdplb.director.director import find_routes
from xdplb.director.instance import Instance, write_bytes, write_json
from xdplb.director.recovery import finish
from xdplb.director.state import State
from xdplb.director.table_writer import Pending, TableWriter
from xdplb.errors import Conflict, KernelRefused, MissingPart, NotFound
from xdplb.host import addresses, announcements, interfaces, neighbours, vlans
from xdplb.kernel import clock, compiler, libbpf, program_text
from xdplb.kernel.bpffs import check_bpffs
from xdplb.kernel.service_tables import ServiceTables
from xdplb.kernel.tables import Tables
from xdplb.model import checks
from xdplb.model.address import Address
from xdplb.model.schedulers import check_ring_slots
from xdplb.model.tunables import Tunables, check_tunables


@dataclass(frozen=True)
class Attached:
    """What attach() did, for the operator."""

    modes: Mapping[str, str]
    added_vips: tuple[str, ...]
    upgraded: bool
    flows_kept: bool
    headers: str
    notes: tuple[str, ...]  # what the operator should hear, though nothing failed


def attach(
    place: Instance,
    ifnames: Sequence[str],
    vips: Sequence[Address],
    mode: str,
    tunables: Tunables | None,
) -> Attached:
    """Compile, load, pin and attach; on interfaces that have a director, upgrade it in place.

    tunables: None keeps those in force. Raises: NotFound, InterfaceBusy, MissingPart, NoPermission,
    UsageError; then everything is as it was.
    """
    with place.locked(), ExitStack() as undo:
        state = State.read(place.state)
        _check(state, ifnames, vips, mode, tunables or state.tunables)
        with suppress(MissingPart):  # its pins are gone: there is nothing to finish
            finish(place, state)
        before = place.state.read_bytes() if place.state.exists() else None
        upgraded = pins.is_attached(place, state)
        old_layout = state.raw["layout"] if upgraded else ""

        frags = interfaces.has_jumbo_frames([*state.raw["interfaces"], *ifnames])
        program = _load(place, state, tunables or state.tunables, frags, old_layout, undo)
        tables = Tables(pins.directory(place, state), program.tables)
        added = _want_vips(state, ifnames[0], vips)
        for name in ifnames:
            state.raw["interfaces"].setdefault(name, {"mode": mode})
        xdp_links.remember_forwarding(state)
        found = find_routes(state, state.addresses())
        neighbours.keep_neighbours(found)
        undo.callback(neighbours.release_neighbours, found)
        _fill(tables, state, vips, undo)

        undo.callback(_restore, place, before)
        _replace_programs(tables, program, undo)
        _replace_pin(program.fd, pins.program_pin(place, state), undo)
        write_json(place.tables(state.raw["layout"]), program.tables)
        write_json(place.pending, asdict(Pending(links=True)))
        state.write(place.state)
        xdp_links.settle(place, state, undo)
        state.write(place.state)
        undo.pop_all()
        place.pending.unlink()

        _sweep(place, state)
        for vip in vips:
            announcements.announce(vip)
        return Attached(
            {name: about["mode"] for name, about in state.raw["interfaces"].items()},
            tuple(map(str, added)),
            upgraded,
            not upgraded or old_layout == state.raw["layout"],
            program.headers,
            tuple(notes_on_vlans(state.raw["interfaces"])),
        )


def _check(
    state: State, ifnames: Sequence[str], vips: Sequence[Address], mode: str, tunables: Tunables
) -> None:
    check_tunables(tunables)
    check_ring_slots(tunables.ring_slots)
    check_bpffs()
    for vip in vips:
        checks.check_address(vip, "VIP")
    for name in ifnames:
        interfaces.ifindex(name)
        found = state.raw["interfaces"].get(name, {"mode": mode})["mode"]
        if "auto" not in (mode, found) and found != mode:
            raise Conflict(
                f"interface {name} is attached in {found} mode",
                f"detach it first: xdplb detach {name}",
            )


def _load(
    place: Instance, state: State, wanted: Tunables, frags: bool, old_layout: str, undo: ExitStack
) -> compiler.Program:
    """Compiles the program with its tables: those in force if their layout stays, else new ones."""
    timer = clock.measure()
    layout = program_text.layout_hash(wanted, frags=frags)
    state.raw.update(tunables=asdict(wanted), layout=layout, hz=timer.hz)
    directory = pins.directory(place, state)
    if layout != old_layout:
        shutil.rmtree(directory, ignore_errors=True)  # what one that was killed left
        directory.mkdir(parents=True)
        undo.callback(shutil.rmtree, directory)
        if not place.tables(layout).exists():
            undo.callback(place.tables(layout).unlink, missing_ok=True)
        state.renew_places()
    return compiler.compile_director(program_text.defines(wanted, directory, timer), frags=frags)


def _want_vips(state: State, ifname: str, vips: Sequence[Address]) -> list[Address]:
    """Each VIP is to be on the first interface, unless one has it. Returns: those to add."""
    here, owners, missing = addresses.local_addresses(), state.raw["vips"], []
    for vip in dict.fromkeys(vips):
        if vip in here:
            owners.setdefault(str(vip), "")
            continue
        missing.append(vip)
        if owners.get(str(vip)) not in state.raw["interfaces"]:
            owners[str(vip)] = ifname
    return missing


def _fill(tables: Tables, state: State, vips: Sequence[Address], undo: ExitStack) -> None:
    directory = ServiceTables(tables)
    for vip in vips:
        if directory.find_vip(vip) is None:
            undo.callback(directory.remove_vip, vip)
    tables.put_vlans(vlans.vlans())
    TableWriter(tables, state).all()


def _restore(place: Instance, before: bytes | None) -> None:
    if before is None:
        place.state.unlink(missing_ok=True)
    else:
        write_bytes(place.state, before)
    place.pending.unlink(missing_ok=True)


def _replace_programs(tables: Tables, program: compiler.Program, undo: ExitStack) -> None:
    """The programs for kinds of packets come before the one that calls them: they take any's."""
    old = tables.open_programs()
    for fd in old.values():
        undo.callback(os.close, fd)
    undo.callback(tables.put_programs, old)
    tables.put_programs(program.kinds)


def _replace_pin(fd: int, path: Path, undo: ExitStack) -> None:
    if path.exists():
        old = libbpf.obj_get(path)
        undo.callback(os.close, old)
        undo.callback(_pin, old, path)
    _pin(fd, path)


def _pin(fd: int, path: Path) -> None:
    new = path.with_name(f"{path.name}_new")
    new.unlink(missing_ok=True)
    libbpf.obj_pin(fd, new)
    new.rename(path)


def notes_on_vlans(attached: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Where a tag that the driver took off is missed. In generic mode the kernel still has it
    beside the frame, and puts it on again, before the one that the program has put there.
    """
    lost = {
        "native": "clients in its VLANs do not hear of packets that are too big",
        "generic": "packets in its VLANs leave with two tags, and are lost",
    }
    parents = {vlan.parent for vlan in vlans.vlans().values()}
    for name, about in attached.items():
        if interfaces.ifindex(name) in parents and interfaces.strips_tags(name):
            yield (
                f"the driver of {name} takes VLAN tags off: {lost[about['mode']]}; "
                f"mend it: ethtool -K {name} rxvlan off"
            )


def _sweep(place: Instance, state: State) -> None:
    """Remove the tables of other layouts."""
    kept = pins.directory(place, state), place.tables(state.raw["layout"])
    for path in (*pins.home(place).iterdir(), *place.run.glob("tables-*.json")):
        if path not in kept and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path not in kept and path.parent == place.run:
            path.unlink()


def detach(place: Instance, ifname: str) -> bool:
    """Take the program off an interface, and back what attach added there.

    With the last interface the tables go too, and with them all flows; services stay desired, for
    the next attach. Returns: whether it was the last. Raises: NotFound.
    """
    with place.locked():
        state = State.read(place.state)
        with suppress(MissingPart, KernelRefused):  # what it cannot finish goes anyway
            finish(place, state)
        if ifname not in state.raw["interfaces"]:
            raise NotFound(f"no director is attached to interface '{ifname}'", "see: xdplb status")
        write_json(place.pending, asdict(Pending(detach=ifname)))
        last = xdp_links.withdraw(place, state, ifname)
        state.write(place.state)
        place.pending.unlink()
    return last
