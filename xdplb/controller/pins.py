# SPDX-License-Identifier: MIT
"""Where a director's program, tables and links are pinned, under /sys/fs/bpf/xdplb/<instance>.

The program and its tables are in a directory named by the tables' layout: what the state names as
its layout is all of one piece, whoever was killed when.
"""

from pathlib import Path

from xdplb import routes
from xdplb.controller.bpffs import check_bpffs
from xdplb.controller.state import State
from xdplb.controller.store import Place, read_json
from xdplb.dataplane.tables import Tables
from xdplb.errors import MissingPart, NotAttached

NAME = "xdplb"


def home(place: Place) -> Path:
    """All that is pinned of an instance."""
    return routes.BPFFS / NAME / place.instance


def directory(place: Place, state: State) -> Path:
    """The tables' pins; meaningful while the director is attached."""
    return home(place) / str(state.raw["layout"])


def program_pin(place: Place, state: State) -> Path:
    """The program, as what its interfaces run."""
    return directory(place, state) / "program"


def link_name(ifname: str) -> str:
    """What an interface's link is called; bpffs takes no dots in names, VLANs' have one."""
    return f"link_{ifname.replace('.', '@')}"


def link_pin(place: Place, ifname: str) -> Path:
    """An interface's link."""
    return home(place) / link_name(ifname)


def is_attached(place: Place, state: State) -> bool:
    """Whether the tables that the state speaks of are there."""
    return state.attached and directory(place, state).is_dir()


def open_tables(place: Place, state: State) -> Tables:
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
