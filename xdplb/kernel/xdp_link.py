# SPDX-License-Identifier: MIT
"""An XDP program on an interface by a pinned link: it stays when the command ends."""

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from xdplb.errors import KernelRefused
from xdplb.kernel import libbpf, pins

# The modes that an operator can ask for, and the kernel's flags to try, in this order.
MODES: Mapping[str, Sequence[int]] = {
    "native": (libbpf.XDP_FLAGS_DRV_MODE,),
    "generic": (libbpf.XDP_FLAGS_SKB_MODE,),
    "auto": (libbpf.XDP_FLAGS_DRV_MODE, libbpf.XDP_FLAGS_SKB_MODE),
}
MODE_NAMES = {libbpf.XDP_FLAGS_DRV_MODE: "native", libbpf.XDP_FLAGS_SKB_MODE: "generic"}
# Another program is on the interface: in the same mode, or in the other mode.
OCCUPIED = (errno.EBUSY, errno.EEXIST)


class Link(NamedTuple):
    """A pinned link: its interface's number (0: that no longer exists), and its program's id."""

    ifindex: int
    prog_id: int


def attach(pin: Path, program_fd: int, ifindex: int, modes: Sequence[int]) -> str:
    """Attach a program to an interface by a new link, and pin it.

    modes: XDP_FLAGS_*; if the driver refuses one, the next is tried. An old pin of this name is
    replaced, if its link's interface no longer exists or has another name now.
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
    """Replace the program of a pinned link; no packet misses both. Raises: KernelRefused."""
    with pins.opened(pin) as link:
        libbpf.link_update(link, program_fd)


def detach(pin: Path) -> None:
    """Take the program off its interface, even if others hold the link, and remove the pin.

    If there is no such pin or interface, it does nothing. Raises: NoPermission.
    """
    with contextlib.suppress(KernelRefused), pins.opened(pin) as link:
        libbpf.link_detach(link)
    pin.unlink(missing_ok=True)


def info(pin: Path) -> Link | None:
    """The object pinned there; None if there is none. Raises: NoPermission."""
    try:
        with pins.opened(pin) as link:
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
