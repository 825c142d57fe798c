# SPDX-License-Identifier: MIT
"""The director on its interfaces: links, VIPs' addresses, the one sysctl. All can be repeated."""

import os
import shutil
from contextlib import ExitStack, suppress

from xdplb.director import pins
from xdplb.director.instance import Instance
from xdplb.director.state import State
from xdplb.errors import InterfaceBusy, KernelRefused, NotFound
from xdplb.host import addresses, interfaces, neighbours, sysctls
from xdplb.kernel import bpffs, libbpf, xdp_link
from xdplb.kernel.service_tables import ServiceTables
from xdplb.model.address import parse_address

# What attach sets to 1, as the FIB is asked on behalf of lo: what was there before, in the state.
FORWARDING = {
    "lo_forwarding": "net/ipv4/conf/lo/forwarding",
    "lo_forwarding_v6": "net/ipv6/conf/lo/forwarding",
}


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
            elif about["mode"] not in xdp_link.MODE_NAMES.values():  # an attach was killed then
                about["mode"] = interfaces.xdp_mode(name)
        for name in state.raw["interfaces"]:
            xdp_link.update(pins.link_pin(place, name), program)
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
    try:
        index = interfaces.ifindex(name)
    except NotFound:
        xdp_link.detach(pins.link_pin(place, name))
        del state.raw["interfaces"][name]
        return
    pin, modes = pins.link_pin(place, name), xdp_link.MODES[mode]
    try:
        reached = xdp_link.attach(pin, program, index, modes)
    except KernelRefused as error:
        if error.errno in xdp_link.OCCUPIED:
            raise InterfaceBusy(
                f"interface {name} has another XDP program already", _how_to_free(name, index)
            ) from error
        raise InterfaceBusy(
            f"interface {name} takes no XDP program in {xdp_link.MODE_NAMES[modes[-1]]} mode"
            f" ({error.what})",
            "use --mode auto or --mode generic",
        ) from error
    undo.callback(xdp_link.detach, pin)
    state.raw["interfaces"][name] = {"mode": reached}


def _how_to_free(name: str, index: int) -> str:
    running = interfaces.xdp_programs(name)
    for pin in (bpffs.BPFFS / pins.NAME).glob(f"*/{pins.link_name(name)}"):
        link = xdp_link.info(pin)  # of the same number in another network namespace, maybe
        if link and link.ifindex == index and link.prog_id in running:
            return f"detach it first: xdplb --instance {pin.parent.name} detach {name}"
    return f"see `ip link show {name}`; take it off with `ip link set {name} xdp off`"


def is_linked(place: Instance, ifname: str) -> bool:
    """Whether the director's link on the interface is alive."""
    try:
        index = interfaces.ifindex(ifname)
    except NotFound:
        return False
    link = xdp_link.info(pins.link_pin(place, ifname))
    return link is not None and link.ifindex == index


def withdraw(place: Instance, state: State, ifname: str) -> bool:
    """Take the director off an interface, and back what attach added. Returns: was it the last?"""
    xdp_link.detach(pins.link_pin(place, ifname))
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
