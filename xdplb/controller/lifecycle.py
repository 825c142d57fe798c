# SPDX-License-Identifier: MIT
"""Attaching a director to interfaces, upgrading it in place, and detaching it."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from xdplb import netlink, routes
from xdplb.controller.director import learn_routes
from xdplb.controller.readings import PINS_NAME, link_pin, open_tables, read_state
from xdplb.controller.reconcile import Reconciler
from xdplb.controller.state import Place, State, write_json
from xdplb.dataplane import clock, libbpf, loader, source
from xdplb.dataplane.directory import Directory
from xdplb.dataplane.tables import Tables
from xdplb.errors import InterfaceBusy, KernelRefused, NotFound
from xdplb.model import Tunables
from xdplb.net import Address, parse_address
from xdplb.schedulers import check_ring_slots

MODES: Mapping[str, Sequence[int]] = {
    "native": (libbpf.XDP_FLAGS_DRV_MODE,),
    "generic": (libbpf.XDP_FLAGS_SKB_MODE,),
    "auto": (libbpf.XDP_FLAGS_DRV_MODE, libbpf.XDP_FLAGS_SKB_MODE),
}
MODE_NAMES = {libbpf.XDP_FLAGS_DRV_MODE: "native", libbpf.XDP_FLAGS_SKB_MODE: "generic"}
LO_FORWARDING = "net/ipv4/conf/lo/forwarding"


@dataclass(frozen=True)
class Attached:
    """What attach() did, for the operator."""

    modes: Mapping[str, str]
    added_vips: tuple[str, ...]
    upgraded: bool
    flows_kept: bool
    headers: str


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
        state = read_state(place)
        wanted = tunables or state.tunables
        source.check_tunables(wanted)
        check_ring_slots(wanted.ring_slots)
        routes.check_bpffs()
        timer = clock.measure()
        indices = {name: routes.ifindex(name) for name in ifnames}
        before = State(dict(state.raw))
        layout = source.layout_hash(wanted)
        home = routes.BPFFS / PINS_NAME / place.instance
        pins = home / layout
        fresh = not pins.is_dir()
        pins.mkdir(parents=True, exist_ok=True)
        if fresh:
            undo.callback(shutil.rmtree, pins)
        program = loader.compile_program("xdplb.c", "xdplb", source.defines(wanted, pins, timer))

        tables = Tables(pins, program.tables)
        state.raw.update(tunables=asdict(wanted), layout=layout, hz=timer.hz)
        added = _add_vips(state, ifnames[0], vips, undo)
        if state.raw["lo_forwarding"] is None:
            found = netlink.read_sysctl(LO_FORWARDING)
            state.raw["lo_forwarding"] = found
            undo.callback(netlink.write_sysctl, LO_FORWARDING, found)
        netlink.write_sysctl(LO_FORWARDING, 1)
        learn_routes(state, state.addresses())
        Reconciler(tables, state).all()

        modes = _link_all(home, program.fd, indices, state, MODES[mode], undo)
        _replace_pin(program.fd, home / "program")
        write_json(place.tables, program.tables)
        write_json(place.state, state.raw)
        place.pending.unlink(missing_ok=True)
        undo.pop_all()

        if before.attached and before.raw["layout"] != layout:
            shutil.rmtree(home / before.raw["layout"], ignore_errors=True)
        for vip in vips:
            routes.announce(vip)
        return Attached(
            modes,
            tuple(map(str, added)),
            before.attached,
            not before.attached or before.raw["layout"] == layout,
            program.headers,
        )


def _add_vips(state: State, ifname: str, vips: Sequence[Address], undo: ExitStack) -> list[Address]:
    """Adds each VIP to the first interface, unless one has it already. Returns: those added."""
    here, added = routes.local_addresses(), []
    for vip in vips:
        if vip in here:
            state.raw["vips"].setdefault(str(vip), "")
            continue
        routes.set_address("add", ifname, vip)
        undo.callback(routes.set_address, "delete", ifname, vip)
        state.raw["vips"][str(vip)] = ifname
        added.append(vip)
    return added


def _link_all(
    home: Path,
    program: int,
    indices: Mapping[str, int],
    state: State,
    flags: Sequence[int],
    undo: ExitStack,
) -> dict[str, str]:
    """Links new interfaces, then gives those that are linked the new program. Returns: modes."""
    for name, index in indices.items():
        pin = link_pin(home, name)
        if pin.exists() and _link_ifindex(pin) == index:
            continue
        pin.unlink(missing_ok=True)  # of an interface that went and came again
        link, flag = _link(program, name, index, flags)
        undo.callback(os.close, link)
        libbpf.obj_pin(link, pin)
        undo.callback(pin.unlink)
        state.raw["interfaces"][name] = {"mode": MODE_NAMES[flag]}
    for name in list(state.raw["interfaces"]):
        pin = link_pin(home, name)
        try:
            link = libbpf.obj_get(pin)
        except KernelRefused:
            del state.raw["interfaces"][name]
            continue
        libbpf.link_update(link, program)
        os.close(link)
    return {name: i["mode"] for name, i in state.raw["interfaces"].items()}


def _link(program: int, name: str, index: int, flags: Sequence[int]) -> tuple[int, int]:
    """Returns: the link's descriptor, and the flag it was made with."""
    refusal = KernelRefused("")
    for flag in flags:
        try:
            return libbpf.link_create(program, index, flag), flag
        except KernelRefused as error:
            refusal = error
            if error.errno == 16:  # EBUSY
                break
    if refusal.errno == 16:
        raise InterfaceBusy(
            f"interface {name} has another XDP program already",
            f"see `ip link show {name}`; take it off with `ip link set {name} xdp off`",
        ) from refusal
    raise InterfaceBusy(
        f"interface {name} takes no XDP program in {MODE_NAMES[flags[-1]]} mode ({refusal.what})",
        "use --mode auto or --mode generic",
    ) from refusal


def _link_ifindex(pin: Path) -> int:
    """The interface of a pinned link, 0 if that went away."""
    try:
        link = libbpf.obj_get(pin)
    except KernelRefused:
        return 0
    try:
        return int(libbpf.link_info(link).ifindex)
    finally:
        os.close(link)


def _replace_pin(fd: int, path: Path) -> None:
    new = path.with_name(f"{path.name}_new")
    new.unlink(missing_ok=True)
    libbpf.obj_pin(fd, new)
    new.rename(path)


def detach(place: Place, ifname: str) -> bool:
    """Take the program off an interface, and back what attach added there.

    With the last interface the tables go too, and with them all flows; services stay desired, for
    the next attach. Returns: whether it was the last. Raises: NotFound.
    """
    with place.locked():
        state = read_state(place)
        if ifname not in state.raw["interfaces"]:
            raise NotFound(f"no director is attached to interface '{ifname}'", "see: xdplb status")
        home = routes.BPFFS / PINS_NAME / place.instance
        _unlink(link_pin(home, ifname))
        mine = [vip for vip, owner in state.raw["vips"].items() if owner == ifname]
        for vip in mine:
            with suppress(KernelRefused, NotFound):  # somebody took it off already
                routes.set_address("delete", ifname, parse_address(vip))
            del state.raw["vips"][vip]
        del state.raw["interfaces"][ifname]
        last = not state.raw["interfaces"]
        if last:
            _take_down(place, state, home)
        else:
            directory = Directory(open_tables(place, state))
            for vip in set(map(parse_address, mine)) - set(state.vips()):
                directory.remove_vip(vip)
        write_json(place.state, state.raw)
    return last


def _unlink(pin: Path) -> None:
    with suppress(KernelRefused):
        link = libbpf.obj_get(pin)
        libbpf.link_detach(link)
        os.close(link)
    pin.unlink(missing_ok=True)


def _take_down(place: Place, state: State, home: Path) -> None:
    for route in {(r["device"], r["via"]): r for r in state.raw["routes"].values()}.values():
        routes.release_neighbour(routes.Route(**route))
    if state.raw["lo_forwarding"] is not None:
        netlink.write_sysctl(LO_FORWARDING, state.raw["lo_forwarding"])
    state.raw.update(layout="", routes={}, vips={}, lo_forwarding=None)
    for service in state.raw["services"].values():
        service["until"] = 0
    shutil.rmtree(home, ignore_errors=True)
    place.tables.unlink(missing_ok=True)
