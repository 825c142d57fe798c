# SPDX-License-Identifier: MIT
"""An instance: its name, its network namespace, its files and its pins.

    /run/xdplb/<name>/          state.json, journal.json, before.json, lock
    /sys/fs/bpf/xdplb/<name>/   links, a copy of the state, one directory for each layout

Each network namespace has its own instances, as it has its own IPVS table. Outside the machine's
first namespace the directories are <name>@<namespace cookie>. A cookie is unique until the next
boot; both file systems are empty then.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from xdplb.director import files
from xdplb.errors import Conflict, NotAttached, UsageError
from xdplb.host import directories, locks, namespaces
from xdplb.kernel.bpffs import BPFFS

RUN = Path("/run/xdplb")
PINS = BPFFS / "xdplb"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
RESERVED = ("lab", "realserver", "decap")  # other directories in RUN


class Instance:
    """One director's name and places. `run` and `pins` are its directories.

    A name with @cookie is of that namespace. From another one it can be read, and not changed.
    """

    def __init__(self, name: str = "default") -> None:
        name, at, cookie = name.partition("@")
        if name in RESERVED or not _NAME.fullmatch(name) or (at and not cookie.isdecimal()):
            raise UsageError(
                f"instance '{name}{at}{cookie}' is not a name an instance can have",
                f"use letters, digits, '_' and '-', but none of {', '.join(RESERVED)}",
            )
        self.name = name
        here = namespaces.suffix()
        self.namespace = at + cookie or here
        self.is_here = self.namespace == here
        self.run = RUN / f"{name}{self.namespace}"
        self.pins = PINS / f"{name}{self.namespace}"

    @cached_property
    def state(self) -> Path:
        """The state file."""
        return self.run / "state.json"

    @cached_property
    def journal(self) -> Path:
        """The journal: it exists while a change is under way."""
        return self.run / "journal.json"

    @cached_property
    def before(self) -> Path:
        """The state before the change that the journal names."""
        return self.run / "before.json"

    @cached_property
    def state_copy(self) -> Path:
        """The pinned copy of the state."""
        return self.pins / "state"

    @cached_property
    def shares(self) -> Path:
        """What the instances of this network namespace share: see host_shares.py."""
        return RUN / f"shared{self.namespace}.json"

    @cached_property
    def shares_copy(self) -> Path:
        """The pinned copy of the shares."""
        return self.pins / "shares"

    def layout(self, layout: str) -> Path:
        """The tables and programs of one layout."""
        return self.pins / layout

    def link(self, ifname: str) -> Path:
        """An interface's link. bpffs takes no dots in names; VLAN devices have one."""
        return self.pins / link_name(ifname)

    def links(self) -> dict[str, Path]:
        """The pinned links by interface name."""
        found = self.pins.glob(f"{_LINK}*") if self.pins.is_dir() else ()
        return {path.name.removeprefix(_LINK).replace("@", "."): path for path in found}

    def others(self) -> Iterator["Instance"]:
        """The other instances of this network namespace that have files or pins."""
        found = {path.parent.name for path in RUN.glob(f"*{self.namespace}/state.json")}
        found |= {path.name for path in PINS.glob(f"*{self.namespace}")}
        for name in sorted(each.removesuffix(self.namespace) for each in found):
            if name != self.name and name not in RESERVED and _NAME.fullmatch(name):
                yield Instance(name)

    @contextmanager
    def locked(self, *, new: bool = False) -> Iterator[None]:
        """Hold the instance's lock. new: the instance may be a new one.

        Raises: NoPermission, Conflict, XdplbError; NotAttached if it is not there.
        """
        if os.geteuid() != 0:
            raise files.not_root()
        if not self.is_here:
            raise Conflict(
                f"instance '{self.name}{self.namespace}' is in another network namespace",
                "enter it: ip netns list; nsenter --net=/run/netns/NAME",
            )
        if not (new or self.run.exists() or self.pins.exists()):
            raise NotAttached(
                f"no director is attached as instance '{self.name}'",
                "run: xdplb attach INTERFACE --vip ADDRESS",
            )
        for path in (RUN, self.run, PINS, self.pins):
            directories.check_ours(path)
        directories.make(self.run)
        with locks.locked(self.run / "lock"):
            yield


_LINK = "link_"


def link_name(ifname: str) -> str:
    """What the pin of an interface's link is called."""
    return f"{_LINK}{ifname.replace('.', '@')}"
