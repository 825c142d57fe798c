# SPDX-License-Identifier: MIT
"""A director as it is, to be compared: its machine, its files, its tables byte for byte."""

import ctypes
import hashlib
import json
import os

from fivehosts import Lab

from xdplb.director import store
from xdplb.kernel import libbpf


def programs(lab: Lab) -> dict[str, tuple[str, int]]:
    """Which XDP programs the director's interfaces run, as bpftool says: mode and id."""
    found = lab.value("lvs", "bpftool", "-j", "net")[0]["xdp"]
    return {each["devname"]: (each["mode"], each["id"]) for each in found}


def machine(lab: Lab) -> dict[str, object]:
    """All that attach may change on the director."""
    neighbours = json.loads(lab.output("lvs", "ip", "-json", "neighbour") or "[]")
    settings = lab.output("lvs", "sh", "-c", "grep -r . /proc/sys/net/ipv4/conf | sort")
    return {
        "addresses": lab.output("lvs", "ip", "-o", "address"),
        "routes": lab.output("lvs", "ip", "route", "show", "table", "all"),
        "settings": settings.splitlines(),
        "programs": programs(lab),
        "neighbours": sorted(n["dst"] for n in neighbours if "managed" in n),
        "pins": sorted(lab.pins.rglob("*")) if lab.pins.exists() else None,
    }


def files(lab: Lab) -> dict[str, bytes]:
    """The director's files, but for the lock."""
    return {path.name: path.read_bytes() for path in lab.state.iterdir() if path.name != "lock"}


def tables(lab: Lab) -> dict[str, str]:
    """A hash of each table, but for the counters, which ARP moves too."""
    opened = store.open_tables(lab.instance, store.read_state(lab.instance))
    found = {}
    for name, table in opened:
        if name in ("rings", "ring", "programs"):
            continue
        if name == "cpus":
            found[name] = _hash(b"".join(bytes(cpu.stats) for cpu in table.memory))
        elif name in ("denied", "vlans"):
            keys = libbpf.map_keys(table.fd, ctypes.sizeof(table.key))
            found[name] = _hash(b"".join(sorted(keys)))
        else:
            found[name] = _hash(bytes(table.memory))
    for service in range(opened.rings.entries):
        ring = opened.read_ring(service)
        if ring is not None:
            found[f"ring {service}"] = _hash(bytes(ring))
    for kind, fd in opened.open_programs().items():
        found[f"program {kind}"] = str(libbpf.prog_info(fd).id)
        os.close(fd)
    opened.close()
    return found


def _hash(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()[:16]
