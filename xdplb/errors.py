# SPDX-License-Identifier: MIT
"""What can go wrong that a person can mend.

    XdplbError                exit 1: it could not be done
    ├── UsageError            exit 2: what was asked for is not well-formed or contradicts the state
    │   ├── NotFound          names something that is not there
    │   ├── AlreadyExists     names something that is there already
    │   └── TableFull         asks for more than the tables hold
    ├── MissingPart           the machine lacks something: headers, bpffs, a package, …
    ├── NotAttached           no director is loaded under this instance's name
    ├── NoPermission          not root, or a capability is missing
    ├── InterfaceBusy         another XDP program holds the interface, or its driver refuses ours
    └── KernelRefused         a system call failed for a reason we did not foresee: carries errno

Every message is one line: the input, the reason, then the mend. Anything else that is raised is a
defect of xdplb and keeps its traceback.
"""

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
    """What was asked for is not well-formed, or contradicts the state."""

    exit_code = 2


class Conflict(XdplbError):
    """Contradicts what there is: the director's state, this host's network."""


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
    """Put where it happened before what happened."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{place}: {error.what}", error.mend) from error


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
