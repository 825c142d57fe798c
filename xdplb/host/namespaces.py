# SPDX-License-Identifier: MIT
"""Network namespaces: make, remove, enter."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from xdplb.errors import KernelRefused, NotFound, refused
from xdplb.host.ip import ip

NAMESPACES = Path("/run/netns")  # iproute2's directory, so that `ip netns` lists ours
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def create(name: str) -> None:
    """Create a named network namespace, as `ip netns add` does. Raises: KernelRefused."""
    done = ip("netns", "add", name)
    if done.returncode:
        raise KernelRefused(f"network namespace '{name}' cannot be created: {done.stderr.strip()}")


def remove(name: str) -> None:
    """Remove a named network namespace, or the file that a crash left of it."""
    ip("netns", "delete", name)


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """Move the calling thread and its children into this network namespace, and back at the end.

    Only the network namespace changes. Mounts stay as they are, /sys/fs/bpf too.
    Raises: NotFound, KernelRefused.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        os.close(home)
        raise NotFound(f"network namespace '{name}' does not exist", "see: ip netns list") from None
    try:
        _setns(there, name)
        try:
            yield
        finally:
            _setns(home, "the caller's own")
    finally:
        os.close(there)
        os.close(home)


def _setns(fd: int, name: str) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise refused(f"network namespace '{name}' cannot be entered", ctypes.get_errno())
