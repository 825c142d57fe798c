# SPDX-License-Identifier: MIT
"""An XDP program on an interface by a pinned link: it stays there when the command ends."""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from xdplb.errors import KernelRefused
from xdplb.kernel import libbpf

# What a person asks for, and the kernel's flags to try for it, in this order.
MODES: Mapping[str, Sequence[int]] = {
    "native": (libbpf.XDP_FLAGS_DRV_MODE,),
    "generic": (libbpf.XDP_FLAGS_SKB_MODE,),
    "auto": (libbpf.XDP_FLAGS_DRV_MODE, libbpf.XDP_FLAGS_SKB_MODE),
}
MODE_NAMES = {libbpf.XDP_FLAGS_DRV_MODE: "native", libbpf.XDP_FLAGS_SKB_MODE: "generic"}
# Another program is on the interface: in the same mode, or in the other mode.
OCCUPIED = (errno.EBUSY, errno.EEXIST)


class Link(NamedTuple):
    """A pinned link: its interface's number, 0 if that is gone, and its program's id."""

    ifindex: int
    prog_id: int


def attach(pin: Path, program_fd: int, ifindex: int, modes: Sequence[int]) -> str:
    """Attach a program to an interface by a new link, and pin it.

    modes: XDP_FLAGS_*, the next one is tried where the driver refuses. A pin of that name, of a
    link whose interface is gone or has another name now, is replaced.
    Returns: the name of the mode reached.
    Raises: KernelRefused, its errno in OCCUPIED if another program is there; NoPermission.
    """
    link, flag = _create(program_fd, ifindex, modes)
    try:
        detach(pin)
        libbpf.obj_pin(link, pin)
    finally:
        os.close(link)  # without a pin, this takes the program off again
    return MODE_NAMES[flag]


def update(pin: Path, program_fd: int) -> None:
    """Replace the program of a pinned link; no packet meets neither. Raises: KernelRefused."""
    with _opened(pin) as link:
        libbpf.link_update(link, program_fd)


def detach(pin: Path) -> None:
    """Take the program off its interface, whoever else holds the link, and remove the pin.

    No such pin, or no such interface any more, is nothing to do. Raises: NoPermission.
    """
    with contextlib.suppress(KernelRefused), _opened(pin) as link:
        libbpf.link_detach(link)
    pin.unlink(missing_ok=True)


def info(pin: Path) -> Link | None:
    """What is pinned there, None if nothing is. Raises: NoPermission."""
    try:
        with _opened(pin) as link:
            about = libbpf.link_info(link)
    except KernelRefused:
        return None
    return Link(int(about.ifindex), int(about.prog_id))


def _create(program_fd: int, ifindex: int, modes: Sequence[int]) -> tuple[int, int]:
    """Returns: the link's descriptor, and the flag it was made with."""
    *first, last = modes
    for flag in first:
        try:
            return libbpf.link_create(program_fd, ifindex, flag), flag
        except KernelRefused as error:
            if error.errno in OCCUPIED:
                raise
    return libbpf.link_create(program_fd, ifindex, last), last


@contextlib.contextmanager
def _opened(pin: Path) -> Iterator[int]:
    link = libbpf.obj_get(pin)
    try:
        yield link
    finally:
        os.close(link)
