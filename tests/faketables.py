# SPDX-License-Identifier: MIT
"""The director's tables in this process's own memory: no root, no bcc, no kernel.

The structs come from bpf/types.h, as BCC would describe them: the headers' declarations are plain
enough for a few regular expressions. Arrays are ctypes memory, which the director's code writes as
it writes the mapped maps. Maps that are written by system calls are dicts.
"""

import ctypes
import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

from xdplb.kernel.byte_order import address_words
from xdplb.kernel.clock import Clock
from xdplb.kernel.program_text import BPF_DIR, bucket_bits
from xdplb.kernel.service_tables import ServiceTables
from xdplb.kernel.tables import Tables, decode_type, elements
from xdplb.model.network import Vlan
from xdplb.model.service import ServiceKey
from xdplb.model.tunables import Tunables

TINY = Tunables(
    max_vips=8,
    max_services=16,
    max_reals=64,
    ring_slots=509,
    flow_buckets=2,
    max_denied=8,
    fragment_buckets=2,
    source_tallies=2,
)
CLOCK = Clock(hz=1 << 16)  # a tick of minutes, where the state says seconds
CPUS = 2

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_DEFINE = re.compile(r"^#define (\w+) (\d+)$", re.MULTILINE)
_STRUCT = re.compile(r"^struct (\w+) \{\n(.*?)^\};", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"(?:struct )?(\w+) (\w+)((?:\[\w+\])*);")
_SCALARS = {
    "__u8": "unsigned char",
    "__u16": "unsigned short",
    "__be16": "unsigned short",
    "__u32": "unsigned int",
    "__be32": "unsigned int",
    "__u64": "unsigned long long",
    "__be64": "unsigned long long",
}


@cache
def structs() -> Mapping[str, Any]:
    """BCC's description of each struct of types.h: [name, [field, …], kind]."""
    text = "".join((BPF_DIR / name).read_text() for name in ("counters.h", "types.h"))
    text = _COMMENT.sub("", text)
    sizes = {name: int(value) for name, value in _DEFINE.findall(text)}
    known: dict[str, Any] = {}
    for name, body in _STRUCT.findall(text):
        fields = []
        for type_, field, lengths in _FIELD.findall(body):
            described = _SCALARS.get(type_) or known[type_]
            counts = [sizes.get(n) or int(n) for n in re.findall(r"\w+", lengths)]
            fields.append([field, described, counts] if counts else [field, described])
        known[name] = [name, fields, "struct"]
    return known


def many(struct: str, count: int) -> Any:
    """BCC's description of a MANY() of arrays.h."""
    described = structs()[struct]
    size = ctypes.sizeof(decode_type(described)) * count
    return [struct, [["first", described], ["all", "char", [size]]], "union"]


def descriptions(tunables: Tunables) -> dict[str, Any]:
    """BCC's description of each array's value, by the table's name: see arrays.h and maps.h."""
    known = structs()
    director = [
        ["config", known["config"]],
        ["turns", many("turn", tunables.max_services)],
        ["vips", many("vip_bucket", 1 << bucket_bits(tunables.max_vips))],
        ["services", many("service_bucket", 1 << bucket_bits(tunables.max_services))],
        ["limits", many("limit", tunables.max_services)],
    ]
    cpu = [["counters", known["counters"]], ["stats", many("stats", tunables.max_reals)]]
    return {
        "director": ["director", director, "struct"],
        "flows": many("flow_bucket", tunables.flow_buckets),
        "reals": many("real", tunables.max_reals),
        "cpus": ["cpu", cpu, "struct"],
        "ring": known["slot"],
    }


class FakeTable:
    """An array in memory; what xdplb.kernel.tables.Table has of it."""

    def __init__(self, description: Any, entries: int) -> None:
        whole = decode_type(description)
        if description[2] == "union":  # a MANY()
            self._value = whole()  # elements() does not keep it alive
            self.memory = elements(self._value)
            self.leaf, self.entries = type(self.memory[0]), len(self.memory)
        else:
            self.leaf, self.entries = whole, entries
            self.memory = (whole * entries)()

    def __getitem__(self, index: int) -> Any:
        return self.memory[index]


class FakeTables(Tables):
    """All tables of one director. `said`: the calls that reach the kernel, in their order."""

    def __init__(self, tunables: Tunables = TINY) -> None:
        sizes = {"cpus": CPUS + 1, "ring": tunables.ring_slots}
        self._tables: dict[str, Any] = {
            name: FakeTable(description, sizes.get(name, 1))
            for name, description in descriptions(tunables).items()
        }
        self._tables["rings"] = SimpleNamespace(entries=tunables.max_services)
        self.tunables = tunables
        self.ring_bytes: dict[int, bytes] = {}
        self.prefixes: set[Any] = set()
        self.vlan_devices: Mapping[int, Vlan] = {}
        self.said: list[tuple[str, Any]] = []
        self.before_rings: Callable[[Mapping[int, bytes]], None] = lambda rings: None

    def close(self) -> None:
        """There is nothing to close."""

    def put_programs(self, kinds: Mapping[int, int]) -> None:
        self.said.append(("programs", dict(kinds)))

    def put_vlans(self, wanted: Mapping[int, Vlan]) -> None:
        self.vlan_devices = dict(wanted)

    def deny(self, prefix: Any) -> None:
        self.said.append(("deny", prefix))
        self.prefixes.add(prefix)

    def allow(self, prefix: Any) -> None:
        self.said.append(("allow", prefix))
        self.prefixes.discard(prefix)

    def keep_denied(self, wanted: Collection[Any]) -> None:
        self.prefixes &= set(wanted)

    def has_ring(self, service: int) -> bool:
        return service in self.ring_bytes

    def read_ring(self, service: int) -> Any:
        ring = self.ring_bytes.get(service)
        leaf = self._tables["ring"].leaf
        return None if ring is None else (leaf * self.tunables.ring_slots).from_buffer_copy(ring)

    def write_rings(self, rings: Mapping[int, bytes]) -> None:
        self.before_rings(rings)
        self.said.append(("rings", sorted(rings)))
        self.ring_bytes.update(rings)

    def drop_ring(self, service: int) -> None:
        if self.ring_bytes.pop(service, None) is not None:
            self.said.append(("drop ring", service))

    # ---- as the program sees it ----------------------------------------------------------------

    def service_entry(self, key: ServiceKey) -> Any:
        """The program's struct service of a key; None if it does not find one."""
        entry = ServiceTables(self).find_service(key)
        return None if entry is None else entry.service

    def owners(self, key: ServiceKey) -> list[int]:
        """The indices of the reals of a service's slots that are in use, in their order."""
        entry = self.service_entry(key)
        return [slot.real for slot in self.read_ring(entry.id)[: entry.slots]]

    def index_of(self, address: Any, service: int) -> int:
        """The index of a service's real."""
        words = address_words(address)
        for index, real in enumerate(self._tables["reals"].memory):
            if real.service == service and (real.address.high, real.address.low) == words:
                return index
        raise LookupError(address)

    def live_reals(self) -> dict[int, int]:
        """The ids of the services of all reals that the program sees, by index."""
        reals = self._tables["reals"].memory
        return {index: real.service for index, real in enumerate(reals) if real.service}
