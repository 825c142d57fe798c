# SPDX-License-Identifier: MIT
"""Directories of ours under /run and /sys/fs/bpf: their modes are stated, not inherited."""

from pathlib import Path

from xdplb.errors import refused

PRIVATE = 0o700


def make(path: Path, mode: int = PRIVATE) -> None:
    """Make a directory of exactly this mode, whatever the umask; one that is there gets it, too.

    Parents that are missing get 0755. Raises: KernelRefused.
    """
    for parent in reversed(path.parents):
        if not parent.exists():
            _make(parent, 0o755)
    _make(path, mode)


def _make(path: Path, mode: int) -> None:
    try:
        path.mkdir(PRIVATE, exist_ok=True)
        path.chmod(mode)
    except OSError as error:
        raise refused(f"{path} cannot be made", error.errno or 0) from error
