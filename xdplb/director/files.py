# SPDX-License-Identifier: MIT
"""Files that are replaced whole, and readable by root only."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from xdplb.errors import NoPermission, XdplbError, unwritable


def not_root() -> NoPermission:
    """The error for whoever may not read or write our files."""
    return NoPermission("xdplb needs root: only root may read its maps and its state", "use sudo")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file by rename. Raises: XdplbError; then the file is as it was."""
    new = path.with_name(f"{path.name}.new")
    try:
        try:
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                os.fchmod(fd, 0o600)
                file.write(content)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """Replace a file by a JSON value. Raises: XdplbError; then the file is as it was."""
    write_bytes(path, json.dumps(value, separators=(",", ":")).encode())


def read_bytes(path: Path) -> bytes | None:
    """A file's content, None if there is no such file. Raises: NoPermission, XdplbError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # of a pipe we do not wait
        with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise not_root() from None
    except OSError as error:
        raise XdplbError(
            f"{path} cannot be read: {error.strerror}", f"see: ls -l {path}"
        ) from error
