# SPDX-License-Identifier: MIT
"""Our directories under /run and /sys/fs/bpf, with exact modes whatever the umask is."""

import os
import stat
from pathlib import Path

from xdplb.errors import Conflict, refused

PRIVATE = 0o700


def make(path: Path, mode: int = PRIVATE) -> None:
    """Make a directory with exactly this mode, for any umask. An existing one gets the mode too.

    Missing parents get 0755. Raises: KernelRefused.
    """
    for parent in reversed(path.parents):
        if not parent.exists():
            _make(parent, 0o755)
    _make(path, mode)


def check_ours(path: Path) -> None:
    """Raises: Conflict if a path below which we write is a link, or another user's."""
    try:
        about = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
        raise Conflict(
            f"{path} is not a directory of ours: another user may steer what is written there",
            f"see: ls -ld {path}; remove it, and mount its file system with mode 700",
        )


def _make(path: Path, mode: int) -> None:
    try:
        path.mkdir(PRIVATE, exist_ok=True)
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
    except OSError as error:
        raise refused(f"{path} cannot be made", error.errno or 0) from error
