# SPDX-License-Identifier: MIT
"""The file system that pins live in: it must be there, and outlive the command."""

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
    """Whether what is mounted there was mounted for this command, or for the shell it runs in.

    That is: our mount namespace is that of no process but us, our ancestors and what they started,
    and before it was entered another file system was there. (A container's own namespace begins
    with process 1; a service's has the machine's bpffs, if it has its own mounts at all.)
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
        return False  # not ours to see
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
