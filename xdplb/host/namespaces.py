# SPDX-License-Identifier: MIT
"""Network namespaces: make, remove, enter."""

import contextlib
import ctypes
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from xdplb.errors import KernelRefused, NotFound, refused
from xdplb.host.ip import ip

NAMESPACES = Path("/run/netns")  # iproute2's directory, so that `ip netns` lists ours
_CLONE_NEWNET = 0x40000000
_OF_THE_FIRST = Path("/proc/sys/net/core/netdev_budget")
_SO_NETNS_COOKIE = 71  # include/uapi/asm-generic/socket.h
_libc = ctypes.CDLL(None, use_errno=True)


def cookie() -> int:
    """The number of the calling thread's network namespace, which no other one gets until a reboot.

    (The number of its inode, as in /proc/self/ns/net, is given again once it is gone.)
    Raises: KernelRefused before Linux 5.14.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            number = any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        except OSError as error:
            raise refused("the network namespace has no cookie", error.errno or 0) from error
    return int.from_bytes(number, sys.byteorder)


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


def suffix() -> str:
    """The end of our file names here: nothing in the first namespace of the machine, else @cookie.

    Only the first namespace has the machine's own settings: net_core_table in
    net/core/sysctl_net_core.c.
    """
    return "" if _OF_THE_FIRST.exists() else f"@{cookie()}"


def _setns(fd: int, name: str) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise refused(f"network namespace '{name}' cannot be entered", ctypes.get_errno())
