# SPDX-License-Identifier: MIT
"""The operator's files: read whole, and replaced whole or not at all."""

import contextlib
import errno
import os
import stat
import time
from pathlib import Path

from xdplb.errors import FileError, UsageError, unwritable

_BESIDE = ".xdplb-"
_WRITING_S = 60


def read_text(name: str, kind: str = "TOML") -> str:
    """A file's text; `-` is standard input. Raises: FileError, UsageError."""
    _check_name(name)
    try:
        return _read(name).decode()
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "it is not text"
    raise FileError(f"{name} cannot be read: {reason}", f"name a file of {kind}")


def _read(name: str) -> bytes:
    if name != "-":
        return Path(name).read_bytes()
    with os.fdopen(0, "rb", closefd=False) as standard_input:
        return standard_input.read()


def write_text(name: str, text: str) -> None:
    """Replace a file as a whole: at any moment, or if we are killed, it has the old or new text.

    A symbolic link stays; the file it names is replaced. Mode and owner stay. Other files than
    regular ones (a terminal, a pipe) are written to. Raises: FileError, UsageError.
    """
    _check_name(name)
    try:
        if name.endswith("/"):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_stream(Path(name)):
            with Path(name).open("ab") as stream:
                stream.write(text.encode())
        else:
            _replace(Path(name).resolve(), text.encode())
    except OSError as error:
        raise unwritable(name, error) from error


def _check_name(name: str) -> None:
    if not name:
        raise UsageError("'' is no file's name", "give FILE, or - for standard input or output")


def _is_stream(path: Path) -> bool:
    """Whether it exists and is no regular file, or is one of our open files (/dev/stdout).

    A regular file that is open already must not be replaced: it may be open to append.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return True
    except FileNotFoundError:
        return False
    while path.is_symlink():
        directory = path.parent.resolve()
        if directory.is_relative_to("/proc"):
            return True
        path = directory / path.readlink()
    return False


def _replace(path: Path, text: bytes) -> None:
    """Write beside the file, then rename, so that the name always has a complete text."""
    import tempfile  # 10 ms, which most commands have no use for

    try:
        old = path.stat()
    except FileNotFoundError:
        old = None
    _remove_left_over(path.parent)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=_BESIDE, suffix=".new")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            if old is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(old.st_mode) if old else 0o644 & ~_umask())
            os.fsync(descriptor)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink()
        raise
    _sync_directory(path.parent)


def _remove_left_over(directory: Path) -> None:
    """What killed commands wrote there: nobody writes a file for a minute."""
    for path in directory.glob(f"{_BESIDE}*.new"):
        with contextlib.suppress(OSError):  # another user's, or another command was faster
            if time.time() - path.lstat().st_mtime > _WRITING_S:
                path.unlink()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_directory(path: Path) -> None:
    """Write the directory to the disk, so that the new name is on it, too."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
