# SPDX-License-Identifier: MIT
"""The processes that a lab started: they are recorded, and ended with it."""

import contextlib
import os
import select
import signal
from pathlib import Path

from xdplb.host.namespaces import NAMESPACES
from xdplb.lab.names import directory, namespace_of, pid_file
from xdplb.lab.topology import HOSTS

_GRACE_S = 5.0  # between asking a process to end and ending it


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
