# SPDX-License-Identifier: MIT
"""The machine follows the state: programs on interfaces, VIPs' addresses, sysctls, pins.

`follow()` is the whole of it. It brings the machine from whatever it is to what the state says, so
it serves attach, detach, upgrade, and the recovery of each of them.
"""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from xdplb.director.host_shares import HostShares
from xdplb.director.instance import PINS, Instance, link_name
from xdplb.director.state import Attached, State
from xdplb.errors import InterfaceBusy, KernelRefused, NotFound
from xdplb.host import announcements, interfaces
from xdplb.host.xdp_holders import how_to_free
from xdplb.kernel import libbpf, program_text, xdp_link
from xdplb.kernel.tables import Tables
from xdplb.model.address import Address, parse_address

MAIN = "xdplb"  # the program that interfaces run


def follow(
    instance: Instance, state: State, tables: Tables | None, asked: Collection[str] = ()
) -> list[Address]:
    """Bring this machine to what the state says.

    tables: those of the state's layout; None leaves the programs that run as they are. asked: the
    interfaces that must run the program. Another one that somebody else's program has taken stays
    without ours, and `status` says so: it must not be in the way of other changes. Packets for
    a VIP meet the program or nobody: an address comes after the program and goes before it, because
    this host's own stack would answer with resets. Returns: the VIPs that were added. Raises:
    InterfaceBusy, KernelRefused, NoPermission.
    """
    shares, attached = HostShares(instance), state.attached
    wanted = {
        vip: device
        for vip, device in state.wanted.vips.items()
        if attached and (not device or device in attached.interfaces)
    }
    for held in map(parse_address, shares.held_addresses()):
        if held not in wanted:
            shares.release_address(held)
    for name, pin in instance.links().items():
        if attached is None or name not in attached.interfaces:
            xdp_link.detach(pin)
    if attached is None:
        shares.release_forwarding()
        shutil.rmtree(instance.pins, ignore_errors=True)
        return []
    shares.hold_forwarding()
    if tables is not None:
        put_programs(instance, attached, tables, asked)
    return shares.hold_addresses(wanted, next(iter(attached.interfaces)))


def put_programs(
    instance: Instance, attached: Attached, tables: Tables, asked: Collection[str]
) -> None:
    """Have the interfaces run the programs that the state names; asked: see follow().

    Those for rare kinds of packets come first: the program on an interface calls them, and an older
    one may call newer ones. New interfaces come before those that are only upgraded, because they
    can fail.
    """
    directory = instance.layout(attached.layout) / attached.programs
    kinds = {kind: directory / name for kind, name in program_text.kinds().items()}
    with _opened(kinds) as fds:
        tables.put_programs(fds)
    with _opened({0: directory / MAIN}) as fds:
        linked = [name for name in attached.interfaces if is_linked(instance, name)]
        for name in attached.interfaces:
            if name in linked or not interfaces.exists(name):  # `status` says that it is gone
                continue
            try:
                attached.interfaces[name] = _link(instance, name, fds[0], attached.interfaces[name])
            except InterfaceBusy:
                if name in asked:
                    raise
        for name in linked:
            xdp_link.update(instance.link(name), fds[0])
            if attached.interfaces[name] == "auto":  # an attach was killed before it wrote the mode
                attached.interfaces[name] = interfaces.xdp_mode(name)


@contextmanager
def _opened(paths: Mapping[int, Path]) -> Iterator[dict[int, int]]:
    with ExitStack() as stack:
        fds = {}
        for number, path in paths.items():
            fds[number] = libbpf.obj_get(path)
            stack.callback(os.close, fds[number])
        yield fds


def _link(instance: Instance, name: str, program: int, mode: str) -> str:
    """Returns: the mode reached."""
    index = interfaces.ifindex(name)
    try:
        return xdp_link.attach(instance.link(name), program, index, xdp_link.MODES[mode])
    except KernelRefused as error:
        if error.errno in xdp_link.OCCUPIED:
            raise InterfaceBusy(
                f"interface {name} has another XDP program already", _how_to_free(name, index)
            ) from error
        raise InterfaceBusy(
            f"interface {name} takes no XDP program in {mode} mode ({error.what})",
            "use --mode auto or --mode generic",
        ) from error


def _how_to_free(name: str, index: int) -> str:
    running = interfaces.xdp_programs(name)
    for pin in PINS.glob(f"*/{link_name(name)}"):
        link = xdp_link.info(pin)  # of the same number in another network namespace, maybe
        if link and link.ifindex == index and link.prog_id in running:
            other = pin.parent.name.partition("@")[0]
            return f"detach it first: xdplb --instance {other} detach {name}"
    return f"take it off: {how_to_free(name)}"


def is_linked(instance: Instance, ifname: str) -> bool:
    """Whether the director's link on the interface is alive."""
    try:
        index = interfaces.ifindex(ifname)
    except NotFound:
        return False
    link = xdp_link.info(instance.link(ifname))
    return link is not None and link.ifindex == index


def announce(vips: list[Address]) -> None:
    """Tell the network which interface has these VIPs now."""
    for vip in vips:
        announcements.announce(vip)


def sweep(instance: Instance, state: State) -> None:
    """Remove the layouts, programs and links that the state does not name."""
    attached = state.attached
    if attached is None or not instance.pins.is_dir():
        return
    layout = instance.layout(attached.layout)
    kept = {layout, layout / attached.programs, instance.state_copy, instance.shares_copy}
    kept |= {instance.link(name) for name in attached.interfaces}
    for path in [*instance.pins.iterdir(), *layout.glob("programs_*")]:
        if path in kept:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.parent == instance.pins:
            xdp_link.detach(path)
