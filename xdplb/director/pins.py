# SPDX-License-Identifier: MIT
"""Where a director's program, tables and links are pinned, under /sys/fs/bpf/xdplb/<instance>.

The program and its tables are in a directory named by the tables' layout: what the state names as
its layout is all of one piece, whoever was killed when.
"""

from pathlib import Path

from xdplb.director.instance import Instance, read_json
from xdplb.director.state import State
from xdplb.errors import MissingPart, NotAttached
from xdplb.kernel import bpffs
from xdplb.kernel.bpffs import check_bpffs
from xdplb.kernel.tables import Tables

NAME = "xdplb"


def home(place: Instance) -> Path:
    """All that is pinned of an instance."""
    return bpffs.BPFFS / NAME / place.instance


def directory(place: Instance, state: State) -> Path:
    """The tables' pins; meaningful while the director is attached."""
    return home(place) / str(state.raw["layout"])


def program_pin(place: Instance, state: State) -> Path:
    """The program, as what its interfaces run."""
    return directory(place, state) / "program"


def link_name(ifname: str) -> str:
    """What an interface's link is called; bpffs takes no dots in names, VLANs' have one."""
    return f"link_{ifname.replace('.', '@')}"


def link_pin(place: Instance, ifname: str) -> Path:
    """An interface's link."""
    return home(place) / link_name(ifname)


def is_attached(place: Instance, state: State) -> bool:
    """Whether the tables that the state speaks of are there."""
    return state.attached and directory(place, state).is_dir()


def open_tables(place: Instance, state: State) -> Tables:
    """The tables of an attached director. Raises: NotAttached, MissingPart."""
    if not state.attached:
        raise NotAttached(
            f"no director is attached as instance '{place.instance}'",
            "run: xdplb attach INTERFACE --vip ADDRESS",
        )
    descriptions = read_json(place.tables(state.raw["layout"]))
    if descriptions is None or not directory(place, state).is_dir():
        check_bpffs()
        raise MissingPart(
            f"the pins of instance '{place.instance}' in {home(place)} are gone",
            f"attach again: xdplb attach {' '.join(state.raw['interfaces'])}".rstrip(),
        )
    return Tables(directory(place, state), descriptions)
