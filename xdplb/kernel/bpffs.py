# SPDX-License-Identifier: MIT
"""The file system of pins: it must be mounted, and outlive the command."""

from collections.abc import Iterator
from pathlib import Path

from xdplb.errors import MissingPart

BPFFS = Path("/sys/fs/bpf")
_PROC = Path("/proc")


def check_bpffs() -> None:
    """Pins must outlive the command. Raises: MissingPart."""
    if _dies_with_us():
        raise MissingPart(
            f"{BPFFS} is one of a private mount namespace: pins in it die with this command",
            "enter the network namespace alone, with nsenter --net=… rather than ip netns exec",
        )
    mounts = [line.split() for line in (_PROC / "self/mounts").read_text().splitlines()]
    kinds = [kind for _, path, kind, *_ in mounts if path == str(BPFFS)]
    if kinds[-1:] != ["bpf"]:
        raise MissingPart(f"{BPFFS} is not a BPF file system", f"run: mount -t bpf bpf {BPFFS}")


def _dies_with_us() -> bool:
    """Whether the bpffs was mounted only for this command, or for the shell that runs it.

    It was, if two things hold. Only this process, its ancestors and their children are in this
    mount namespace. And outside of it, another file system is mounted there. (A container's own
    namespace begins with process 1. A service with its own mounts still has the machine's bpffs.)
    """
    ours = _namespace("self")
    family = list(_ancestors())
    inside = [pid for pid in family if _namespace(pid) == ours]
    outside = family[len(inside) :]
    if not outside or inside != family[: len(inside)]:
        return False
    try:
        same = BPFFS.stat().st_dev == (_PROC / outside[0] / "root" / str(BPFFS)[1:]).stat().st_dev
    except OSError:
        return False  # we may not look at it
    return not same and not any(
        _namespace(each.name) == ours and inside[-1] not in _ancestors(each.name)
        for each in _PROC.iterdir()
        if each.name.isdigit()
    )


def _namespace(pid: str) -> str:
    try:
        return str((_PROC / pid / "ns/mnt").readlink())
    except OSError:
        return ""


def _ancestors(pid: str = "self") -> Iterator[str]:
    """A process, its parent, and so on."""
    while pid != "0":
        try:
            name, _, rest = (_PROC / pid / "stat").read_text().rpartition(")")
        except OSError:
            return
        yield name.split()[0]
        pid = rest.split()[1]
