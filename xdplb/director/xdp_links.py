# SPDX-License-Identifier: MIT
"""The director on its interfaces: links, VIPs' addresses, the one sysctl. All can be repeated."""

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from xdplb.director import pins
from xdplb.director.instance import Instance
from xdplb.director.state import State
from xdplb.errors import InterfaceBusy, KernelRefused, NotFound
from xdplb.host import addresses, interfaces, neighbours, sysctls
from xdplb.kernel import bpffs, libbpf
from xdplb.kernel.service_tables import ServiceTables
from xdplb.model.address import parse_address

MODES: Mapping[str, Sequence[int]] = {
    "native": (libbpf.XDP_FLAGS_DRV_MODE,),
    "generic": (libbpf.XDP_FLAGS_SKB_MODE,),
    "auto": (libbpf.XDP_FLAGS_DRV_MODE, libbpf.XDP_FLAGS_SKB_MODE),
}
MODE_NAMES = {libbpf.XDP_FLAGS_DRV_MODE: "native", libbpf.XDP_FLAGS_SKB_MODE: "generic"}
# What attach sets to 1, as the FIB is asked on behalf of lo: what was there before, in the state.
FORWARDING = {
    "lo_forwarding": "net/ipv4/conf/lo/forwarding",
    "lo_forwarding_v6": "net/ipv6/conf/lo/forwarding",
}

_OCCUPIED = (errno.EBUSY, errno.EEXIST)  # by a program in this mode, in the other mode


def settle(place: Instance, state: State, undo: ExitStack) -> None:
    """Bring addresses, the sysctl and links to what the state says; undo: what takes it back.

    Raises: InterfaceBusy, KernelRefused.
    """
    _add_addresses(state, undo)
    for name, setting in FORWARDING.items():
        if state.raw[name] is not None:
            undo.callback(_set_forwarding, setting, sysctls.read(setting))
            _set_forwarding(setting, "1")
    program = libbpf.obj_get(pins.program_pin(place, state))
    try:
        # New ones first, which can fail; the others have their programs replaced afterwards.
        for name, about in list(state.raw["interfaces"].items()):
            if not is_linked(place, name):
                _make_link(place, state, program, name, about["mode"], undo)
            elif about["mode"] not in MODE_NAMES.values():  # by an attach that was killed then
                about["mode"] = interfaces.xdp_mode(name)
        for name in state.raw["interfaces"]:
            _update_link(pins.link_pin(place, name), program)
    finally:
        os.close(program)


def remember_forwarding(state: State) -> None:
    """What is there before the first attach; of a family that the kernel has."""
    for name, setting in FORWARDING.items():
        if state.raw[name] is None and sysctls.exists(setting):
            state.raw[name] = sysctls.read(setting)


def _set_forwarding(setting: str, value: str) -> None:
    """Writing 1 for IPv6, even over a 1, has the kernel forget all routes that routers told any
    interface, but those with accept_ra 2: rt6_purge_dflt_routers() in net/ipv6/route.c. So all
    that are told routes have that for a moment.
    """
    if sysctls.read(setting) == value:
        return
    with ExitStack() as restored:
        for told in sysctls.matching("net/ipv6/conf/*/accept_ra"):
            if (before := sysctls.read(told)) != "2":
                restored.callback(sysctls.write, told, before)
                sysctls.write(told, 2)
        sysctls.write(setting, value)


def _add_addresses(state: State, undo: ExitStack) -> None:
    here = addresses.local_addresses()
    for text, ifname in state.raw["vips"].items():
        vip = parse_address(text)
        if ifname in state.raw["interfaces"] and vip not in here:
            addresses.set_address("add", ifname, vip)
            undo.callback(addresses.set_address, "delete", ifname, vip)


def _make_link(
    place: Instance, state: State, program: int, name: str, mode: str, undo: ExitStack
) -> None:
    """An interface that is not there, or no more, is forgotten."""
    pin = pins.link_pin(place, name)
    pin.unlink(missing_ok=True)  # of an interface that went and came again
    try:
        index = interfaces.ifindex(name)
    except NotFound:
        del state.raw["interfaces"][name]
        return
    link, flag = _link(program, name, index, MODES[mode])
    undo.callback(os.close, link)
    libbpf.obj_pin(link, pin)
    undo.callback(pin.unlink)
    state.raw["interfaces"][name] = {"mode": MODE_NAMES[flag]}


def _update_link(pin: Path, program: int) -> None:
    link = libbpf.obj_get(pin)
    try:
        libbpf.link_update(link, program)
    finally:
        os.close(link)


def _link(program: int, name: str, index: int, flags: Sequence[int]) -> tuple[int, int]:
    """Returns: the link's descriptor, and the flag it was made with."""
    refusal = KernelRefused("")
    for flag in flags:
        try:
            return libbpf.link_create(program, index, flag), flag
        except KernelRefused as error:
            refusal = error
            if error.errno in _OCCUPIED:
                break
    if refusal.errno in _OCCUPIED:
        raise InterfaceBusy(
            f"interface {name} has another XDP program already", _how_to_free(name, index)
        ) from refusal
    raise InterfaceBusy(
        f"interface {name} takes no XDP program in {MODE_NAMES[flags[-1]]} mode ({refusal.what})",
        "use --mode auto or --mode generic",
    ) from refusal


def _how_to_free(name: str, index: int) -> str:
    running = interfaces.xdp_programs(name)
    for pin in (bpffs.BPFFS / pins.NAME).glob(f"*/{pins.link_name(name)}"):
        link = _link_info(pin)  # of the same number in another network namespace, maybe
        if link and link.ifindex == index and link.prog_id in running:
            return f"detach it first: xdplb --instance {pin.parent.name} detach {name}"
    return f"see `ip link show {name}`; take it off with `ip link set {name} xdp off`"


def is_linked(place: Instance, ifname: str) -> bool:
    """Whether the director's link on the interface is alive."""
    try:
        index = interfaces.ifindex(ifname)
    except NotFound:
        return False
    link = _link_info(pins.link_pin(place, ifname))
    return link is not None and link.ifindex == index


def _link_info(pin: Path) -> Any:
    """A pinned link's struct bpf_link_info, None if there is no such pin.

    Its ifindex is 0 if the interface went away.
    """
    try:
        link = libbpf.obj_get(pin)
    except KernelRefused:
        return None
    try:
        return libbpf.link_info(link)
    finally:
        os.close(link)


def withdraw(place: Instance, state: State, ifname: str) -> bool:
    """Take the director off an interface, and back what attach added. Returns: was it the last?"""
    _unlink(pins.link_pin(place, ifname))
    mine = [vip for vip, owner in state.raw["vips"].items() if owner == ifname]
    for vip in mine:
        with suppress(KernelRefused, NotFound):  # somebody took it off already
            addresses.set_address("delete", ifname, parse_address(vip))
        del state.raw["vips"][vip]
    del state.raw["interfaces"][ifname]
    if not state.raw["interfaces"]:
        _take_down(place, state)
        return True
    directory = ServiceTables(pins.open_tables(place, state))
    for vip in set(map(parse_address, mine)) - set(state.vips()):
        directory.remove_vip(vip)
    return False


def _unlink(pin: Path) -> None:
    with suppress(KernelRefused):
        link = libbpf.obj_get(pin)
        try:
            libbpf.link_detach(link)
        finally:
            os.close(link)
    pin.unlink(missing_ok=True)


def _take_down(place: Instance, state: State) -> None:
    neighbours.release_neighbours(map(state.find_route, state.raw["routes"]))
    for name, setting in FORWARDING.items():
        if state.raw[name] is not None:
            _set_forwarding(setting, state.raw[name])
    shutil.rmtree(pins.home(place), ignore_errors=True)
    for description in place.run.glob("tables-*.json"):
        description.unlink()
    state.raw.update(layout="", routes={}, vips={}, **dict.fromkeys(FORWARDING))
    for service in state.raw["services"].values():
        service.update(until=0, between=[])
