# SPDX-License-Identifier: MIT
"""A lock between commands. The kernel drops it when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xdplb.errors import refused


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock of this file, and hold it for a while. The file is made if it is missing.

    Its directory must exist. Commands that are started meanwhile do not inherit the lock.
    Raises: KernelRefused, also for a symbolic link.
    """
    try:
        fd = _lock(path)
    except OSError as error:
        raise refused(f"{path} cannot be locked", error.errno or 0) from error
    try:
        yield
    finally:
        os.close(fd)


def _lock(path: Path) -> int:
    """A file that was removed while we waited for it is no lock any more: others make a new one."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        fd = os.open(path, flags, 0o600)
        os.fchmod(fd, 0o600)  # whatever the umask is, or was
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)
