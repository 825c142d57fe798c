# SPDX-License-Identifier: MIT
"""A lab's names: its namespaces, and its files under /run."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from xdplb.errors import NoPermission, NotFound, UsageError
from xdplb.host import directories, locks
from xdplb.host.namespaces import NAMESPACES
from xdplb.lab.topology import HOSTS, NETWORKS

DEFAULT_NAME = "xdplb"
_RUN = Path("/run/xdplb/lab")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


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


def directory(lab: str) -> Path:
    """Where a lab keeps its files; all of them are gone when it is down."""
    return _RUN / lab


def pid_file(lab: str, host: str, what: str) -> Path:
    """Where a process on a host is recorded, so that `down` ends it."""
    return directory(lab) / f"{what}-{host}.pid"


def remove_directory(lab: str) -> None:
    """Forget a lab's files."""
    shutil.rmtree(directory(lab), ignore_errors=True)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold off whoever else builds or removes a lab. The kernel drops the lock if we die."""
    directories.make(_RUN, 0o755)  # nginx serves files from there, as another user
    with locks.locked(_RUN / ".lock"):  # no lab can have this name
        yield
