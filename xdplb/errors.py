# SPDX-License-Identifier: MIT
"""What can go wrong that a person can mend.

    XdplbError                exit 1: it could not be done
    ├── UsageError            exit 2: the command line is wrong, whatever there is on this machine
    ├── FileError             a file cannot be read or written, or what it says is wrong
    ├── Conflict              contradicts what there is: the director's state, this host's network
    │   ├── NotFound          names something that is not there
    │   ├── AlreadyExists     names something that is there already
    │   └── TableFull         asks for more than the tables hold
    ├── MissingPart           the machine lacks something: headers, bpffs, a package, …
    ├── NotAttached           no director is loaded under this instance's name
    ├── NoPermission          not root, or a capability is missing
    ├── InterfaceBusy         another XDP program holds the interface, or its driver refuses ours
    └── KernelRefused         a system call failed for a reason we did not foresee: carries errno

Every message is one line: the input, the reason, then the mend. Any other exception is a defect of
xdplb: `xdplb.cli.main` prints one line, and keeps the traceback.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


class XdplbError(Exception):
    """The root: `what` names the input and the reason, `mend` says what to do about it."""

    exit_code = 1

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what}; {mend}" if mend else what)
        self.what = what
        self.mend = mend


class UsageError(XdplbError):
    """The command line is wrong: no state of this machine would make it right."""

    exit_code = 2


class FileError(XdplbError):
    """A file cannot be read or written, or what it says is wrong."""


class Conflict(XdplbError):
    """Contradicts what there is: the director's state, or this host's network."""


class NotFound(Conflict):
    """Names something that is not there."""


class AlreadyExists(Conflict):
    """Names something that is there already."""


class TableFull(Conflict):
    """Asks for more than the tables hold."""


class MissingPart(XdplbError):
    """The machine lacks something: headers, bpffs, a package, a kernel feature."""


class NotAttached(XdplbError):
    """No director is loaded under this instance's name."""


class NoPermission(XdplbError):
    """Not root, or a capability is missing."""


class InterfaceBusy(XdplbError):
    """Another XDP program holds the interface, or its driver refuses ours."""


class KernelRefused(XdplbError):
    """A system call failed for a reason we did not foresee. `errno` says which."""

    errno = 0


@contextmanager
def within(place: str) -> Iterator[None]:
    """Prefix the message of an error with the place where it happened."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{place}: {error.what}", error.mend) from error


_MENDS = {
    errno.ENOSPC: "make room on its file system",
    errno.EDQUOT: "make room in its quota",
    errno.EROFS: "mount its file system writable, or name another file",
    errno.ENOENT: "make its directory, or name another file",
    errno.EISDIR: "name a file, not a directory",
}


def unwritable(path: object, error: OSError) -> FileError:
    """The error for a file that could not be written, with the system's reason."""
    mend = _MENDS.get(error.errno or 0, "name a file in a directory of yours")
    return FileError(f"{path} cannot be written: {error.strerror}", mend)


def refused(what: str, number: int) -> KernelRefused:
    """The error for a system call that failed with this errno; `what` says what was tried."""
    refusal = KernelRefused(f"{what}: {os.strerror(number)}")
    refusal.errno = number
    return refusal


def last_words(log: str) -> str:
    """A compiler's or a verifier's, in one line; all of them with XDPLB_VERBOSE set."""
    if os.environ.get("XDPLB_VERBOSE"):
        return log
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]
    return " / ".join(errors[:3] or lines[-4:])
