# SPDX-License-Identifier: MIT
"""Where a lab is: its namespaces' names, its files under /run, and the processes recorded there."""

import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from xdplb.dataplane import decap
from xdplb.errors import NoPermission, NotFound, UsageError
from xdplb.lab.topology import HOSTS, NETWORKS
from xdplb.netlink import NAMESPACES
from xdplb.routes import BPFFS

DEFAULT_NAME = "xdplb"

_RUN = Path("/run/xdplb/lab")
_INSTANCES = (Path("/run/xdplb"), BPFFS / "xdplb")  # where `xdplb` keeps state and pins
_REALSERVER_STATES = Path("/run/xdplb/realserver")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_GRACE_S = 5.0  # between asking a process to end and ending it


def check_name(lab: str) -> None:
    """Refuse a name that would not do as part of a path. Raises: UsageError."""
    if not _NAME.fullmatch(lab):
        raise UsageError(
            f"lab name '{lab}' is not well-formed",
            "use up to 31 small letters, digits and dashes",
        )


def check_root() -> None:
    """Raises: NoPermission."""
    if os.geteuid() != 0:
        raise NoPermission("a lab needs root", "run it again with sudo")


def mend(lab: str, deed: str, subcommand: str) -> str:
    """Say how to mend what is wrong with a lab."""
    option = "" if lab == DEFAULT_NAME else f" --name {lab}"
    return f"{deed} with: xdplb lab {subcommand}{option}"


def namespace_of(lab: str, place: str) -> str:
    """Name the namespace of a host or of a network's bridge."""
    return f"{lab}-{place}"


def host_namespace(lab: str, host: str) -> str:
    """Name the namespace of a host, or of a network's bridge, in a lab that is up.

    Raises: UsageError, NotFound.
    """
    check_name(lab)
    places = (*HOSTS, *NETWORKS)
    if host not in places:
        raise NotFound(f"host '{host}' is not in the lab", f"it has: {', '.join(places)}")
    name = namespace_of(lab, host)
    if not (NAMESPACES / name).exists():
        raise NotFound(f"lab '{lab}' is not up", mend(lab, "bring it up", "up"))
    return name


def namespaces_of(lab: str) -> list[str]:
    """Name all namespaces that a lab has when it is up."""
    return [namespace_of(lab, place) for place in (*HOSTS, *NETWORKS)]


# Files


def directory(lab: str) -> Path:
    """Where a lab keeps its files; all of them are gone when it is down."""
    return _RUN / lab


def pid_file(lab: str, host: str, what: str) -> Path:
    """Where a process on a host is recorded, so that `down` ends it."""
    return directory(lab) / f"{what}-{host}.pid"


def remove_directory(lab: str) -> None:
    """Forget a lab's files."""
    shutil.rmtree(directory(lab), ignore_errors=True)


def instance(lab: str, host: str) -> str:
    """Name the instance that `xdplb` means on a host: /run and bpffs are shared by all hosts."""
    return f"{lab}-{host}"


def remove_instances(lab: str) -> None:
    """Forget what `xdplb` pinned and wrote for the hosts, while their namespaces still are there.

    A director's is named by its instance, a real server's by its namespace's number.
    """
    for host in HOSTS:
        for directory in _INSTANCES:
            shutil.rmtree(directory / instance(lab, host), ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            number = (NAMESPACES / namespace_of(lab, host)).stat().st_ino
            _REALSERVER_STATES.joinpath(f"{number}.state").unlink(missing_ok=True)
            for directory in decap.PINS.glob(f"{number}-*"):
                shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold off whoever else builds or removes a lab. The kernel drops the lock if we die."""
    _RUN.mkdir(parents=True, exist_ok=True)
    fd = os.open(_RUN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


# Processes


def end_processes(lab: str) -> None:
    """End the recorded processes that still live in the namespace where they were started."""
    for host in HOSTS:
        for file in directory(lab).glob(f"*-{host}.pid"):
            with contextlib.suppress(FileNotFoundError, ValueError):
                _end(int(file.read_text()), namespace_of(lab, host))
            file.unlink(missing_ok=True)


def running(lab: str, host: str, what: str) -> int | None:
    """Tell the process id recorded for a host, if that process is alive and still ours."""
    try:
        pid = int(pid_file(lab, host, what).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return pid if _lives_in(pid, namespace_of(lab, host)) else None


def _end(pid: int, namespace: str) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Checked with the handle open: from here on the number cannot pass to another process.
        if not _lives_in(pid, namespace):
            return
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        ended, _, _ = select.select([handle], [], [], _GRACE_S)
        if not ended:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], _GRACE_S)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def _lives_in(pid: int, namespace: str) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/net").samefile(NAMESPACES / namespace)
    except OSError:
        return False
