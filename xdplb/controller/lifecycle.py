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

from xdplb import config, routes
from xdplb.controller import links, pins
from xdplb.controller.bpffs import check_bpffs
from xdplb.controller.director import find_routes
from xdplb.controller.finish import finish
from xdplb.controller.reconcile import Pending, Reconciler
from xdplb.controller.state import State
from xdplb.controller.store import Place, write_bytes, write_json
from xdplb.dataplane import clock, libbpf, loader, source
from xdplb.dataplane.directory import Directory
from xdplb.dataplane.tables import Tables
from xdplb.errors import KernelRefused, MissingPart, NotFound, UsageError
from xdplb.model import Tunables
from xdplb.net import Address
from xdplb.schedulers import check_ring_slots


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
    place: Place,
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

        frags = routes.has_jumbo_frames([*state.raw["interfaces"], *ifnames])
        program = _load(place, state, tunables or state.tunables, frags, old_layout, undo)
        tables = Tables(pins.directory(place, state), program.tables)
        added = _want_vips(state, ifnames[0], vips)
        for name in ifnames:
            state.raw["interfaces"].setdefault(name, {"mode": mode})
        links.remember_forwarding(state)
        found = find_routes(state, state.addresses())
        routes.keep_neighbours(found)
        undo.callback(routes.release_neighbours, found)
        _fill(tables, state, vips, undo)

        undo.callback(_restore, place, before)
        _replace_programs(tables, program, undo)
        _replace_pin(program.fd, pins.program_pin(place, state), undo)
        write_json(place.tables(state.raw["layout"]), program.tables)
        write_json(place.pending, asdict(Pending(links=True)))
        state.write(place.state)
        links.settle(place, state, undo)
        state.write(place.state)
        undo.pop_all()
        place.pending.unlink()

        _sweep(place, state)
        for vip in vips:
            routes.announce(vip)
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
    source.check_tunables(tunables)
    check_ring_slots(tunables.ring_slots)
    check_bpffs()
    for vip in vips:
        config.check_address(vip, "VIP")
    for name in ifnames:
        routes.ifindex(name)
        found = state.raw["interfaces"].get(name, {"mode": mode})["mode"]
        if "auto" not in (mode, found) and found != mode:
            raise UsageError(
                f"interface {name} is attached in {found} mode",
                f"detach it first: xdplb detach {name}",
            )


def _load(
    place: Place, state: State, wanted: Tunables, frags: bool, old_layout: str, undo: ExitStack
) -> loader.Program:
    """Compiles the program with its tables: those in force if their layout stays, else new ones."""
    timer = clock.measure()
    layout = source.layout_hash(wanted, frags=frags)
    state.raw.update(tunables=asdict(wanted), layout=layout, hz=timer.hz)
    directory = pins.directory(place, state)
    if layout != old_layout:
        shutil.rmtree(directory, ignore_errors=True)  # what one that was killed left
        directory.mkdir(parents=True)
        undo.callback(shutil.rmtree, directory)
        if not place.tables(layout).exists():
            undo.callback(place.tables(layout).unlink, missing_ok=True)
        state.renew_places()
    return loader.compile_director(source.defines(wanted, directory, timer), frags=frags)


def _want_vips(state: State, ifname: str, vips: Sequence[Address]) -> list[Address]:
    """Each VIP is to be on the first interface, unless one has it. Returns: those to add."""
    here, owners, missing = routes.local_addresses(), state.raw["vips"], []
    for vip in dict.fromkeys(vips):
        if vip in here:
            owners.setdefault(str(vip), "")
            continue
        missing.append(vip)
        if owners.get(str(vip)) not in state.raw["interfaces"]:
            owners[str(vip)] = ifname
    return missing


def _fill(tables: Tables, state: State, vips: Sequence[Address], undo: ExitStack) -> None:
    directory = Directory(tables)
    for vip in vips:
        if directory.find_vip(vip) is None:
            undo.callback(directory.remove_vip, vip)
    tables.put_vlans(routes.vlans())
    Reconciler(tables, state).all()


def _restore(place: Place, before: bytes | None) -> None:
    if before is None:
        place.state.unlink(missing_ok=True)
    else:
        write_bytes(place.state, before)
    place.pending.unlink(missing_ok=True)


def _replace_programs(tables: Tables, program: loader.Program, undo: ExitStack) -> None:
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


def notes_on_vlans(interfaces: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Where a tag that the driver took off is missed. In generic mode the kernel still has it
    beside the frame, and puts it on again, before the one that the program has put there.
    """
    lost = {
        "native": "clients in its VLANs do not hear of packets that are too big",
        "generic": "packets in its VLANs leave with two tags, and are lost",
    }
    parents = {vlan.parent for vlan in routes.vlans().values()}
    for name, about in interfaces.items():
        if routes.ifindex(name) in parents and routes.strips_tags(name):
            yield (
                f"the driver of {name} takes VLAN tags off: {lost[about['mode']]}; "
                f"mend it: ethtool -K {name} rxvlan off"
            )


def _sweep(place: Place, state: State) -> None:
    """Remove the tables of other layouts."""
    kept = pins.directory(place, state), place.tables(state.raw["layout"])
    for path in (*pins.home(place).iterdir(), *place.run.glob("tables-*.json")):
        if path not in kept and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path not in kept and path.parent == place.run:
            path.unlink()


def detach(place: Place, ifname: str) -> bool:
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
        last = links.withdraw(place, state, ifname)
        state.write(place.state)
        place.pending.unlink()
    return last
