# SPDX-License-Identifier: MIT
"""A picture of the whole machine, as far as a director may change it, to be compared."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fivehosts import Lab
from photo import programs, tables

from xdplb.director import state_file, store
from xdplb.director.instance import RUN, Instance
from xdplb.director.pruning import prune
from xdplb.director.state import State
from xdplb.director.table_writer import TableWriter
from xdplb.host import namespaces
from xdplb.kernel import libbpf, xdp_link
from xdplb.model import toml_file

SETTINGS = [Path("/proc/sys/net", family, "conf") for family in ("ipv4", "ipv6")]
# Numbers that the kernel gives, and what is random by design.
LEFT_OUT = re.compile(r"stable_secret$")

Picture = dict[str, Any]


def picture(lab: Lab, *directories: Path) -> Picture:
    """Settings, addresses, routes, neighbours, programs, pins, files, and what is wanted.

    directories: more of them, which commands write to.
    """
    instance = lab.instance
    with namespaces.entered(f"{lab.name}-lvs"):
        settings = dict(_settings())
    links = lab.value("lvs", "ip", "-json", "address")
    neighbours = json.loads(lab.output("lvs", "ip", "-json", "neighbour") or "[]")
    return {
        "wanted": toml_file.dump(store.read_state(instance).configuration()),
        "settings": settings,
        "addresses": {
            link["ifname"]: [
                (each["local"], each["prefixlen"], each.get("preferred_life_time"))
                for each in link["addr_info"]
            ]
            for link in links
        },
        "routes": sorted(
            line
            for family in ("-4", "-6")
            for line in lab.output("lvs", "ip", family, "route", "show", "table", "all").split("\n")
        ),
        "neighbours": sorted(each["dst"] for each in neighbours if "managed" in each),
        "programs": {name: mode for name, (mode, _) in programs(lab).items()},
        "pins": sorted(map(_without_ids, _below(instance.pins))),
        "files": sorted(
            str(path)
            for path in [*_below(instance.run), *RUN.glob(f"shared{instance.namespace}*")]
            if path.suffix != ".lock" and path.name != "lock"
        ),
        "shared": instance.shares.read_text() if instance.shares.exists() else "",
        "directories": {
            str(path): path.read_bytes() for each in directories for path in _below(each)
        },
    }


def _settings() -> Iterator[tuple[str, str]]:
    for directory in SETTINGS:
        for path in directory.rglob("*"):
            if path.is_file() and not LEFT_OUT.search(str(path)):
                yield str(path.relative_to("/proc/sys")), path.read_text().strip()


def _below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()] + [
        path for path in directory.rglob("*") if path.is_dir()
    ]


def _without_ids(path: Path) -> str:
    return re.sub(r"programs_\d+", "programs", str(path))


def differences(one: Picture, other: Picture) -> str:
    """What differs, in words; "" if nothing does."""
    found = []
    for part in one:
        if one[part] != other[part]:
            found.append(f"{part}: {_difference(one[part], other[part])}")
    return "\n".join(found)


def _difference(one: Any, other: Any) -> str:
    if isinstance(one, dict):
        keys = sorted(one.keys() | other.keys())
        return str([(k, one.get(k), other.get(k)) for k in keys if one.get(k) != other.get(k)])
    if isinstance(one, list):
        only, new = [x for x in one if x not in other], [x for x in other if x not in one]
        return f"gone {only}, new {new}"
    return f"{one!r} != {other!r}"


def check_consistent(lab: Lab) -> None:
    """Nothing is pending; tables, programs and links are what the state says, byte for byte."""
    instance = lab.instance
    assert not instance.journal.exists(), instance.journal.read_text()
    assert not instance.before.exists()
    state = store.read_state(instance)
    if state.attached is None:
        assert not instance.pins.exists()
        return
    before = tables(lab)
    with namespaces.entered(f"{lab.name}-lvs"):
        opened = store.open_tables(instance, state)
        writer = TableWriter(opened, state)
        writer.all()
        prune(writer)
        opened.close()
    assert before == tables(lab)
    directory = instance.layout(state.attached.layout) / state.attached.programs
    program = _program_id(directory / "xdplb")
    running = programs(lab)
    assert running.keys() == state.attached.interfaces.keys()
    assert {(mode, program) for mode in map(_driver, state.attached.interfaces.values())} == {
        *running.values()
    }
    assert {program} == {link.prog_id for link in map(xdp_link.info, _links(instance)) if link}
    assert _text(store.read_state(instance)) == _text(store.read_copy(instance))


def _text(state: State | None) -> bytes:
    """All of a state, but for what counters had: `zero` does not write the copy."""
    return b"" if state is None else state_file.encode(replace(state, removed={}))


def _links(instance: Instance) -> list[Path]:
    return list(instance.links().values())


def _driver(mode: str) -> str:
    return {"native": "driver", "generic": "generic"}[mode]


def _program_id(path: Path) -> int:
    fd = libbpf.obj_get(path)
    try:
        return int(libbpf.prog_info(fd).id)
    finally:
        os.close(fd)
