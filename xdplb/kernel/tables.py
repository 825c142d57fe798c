# SPDX-License-Identifier: MIT
"""The pinned tables, as typed memory.

C declares the structs (bpf/types.h), and BCC describes them. `attach` stores the descriptions. The
ctypes here are built from these: no struct is written twice, and only compiling needs bcc.
Arrays are mapped into memory. Assigning a field is one aligned store, which the program sees whole.
The program never stops reading, so the order of assignments matters.
"""

import ctypes
import mmap
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from xdplb.errors import KernelRefused, NotAttached
from xdplb.kernel import libbpf
from xdplb.kernel.byte_order import mapped, prefix_length, tag_word
from xdplb.model.address import Prefix
from xdplb.model.network import Vlan

WAITING_TOGETHER = 32

_SCALARS: dict[str, Any] = {
    "char": ctypes.c_char,
    "unsigned char": ctypes.c_uint8,
    "unsigned short": ctypes.c_uint16,
    "unsigned int": ctypes.c_uint32,
    "unsigned long long": ctypes.c_uint64,
    "int": ctypes.c_int32,
}


def decode_type(description: Any) -> Any:
    """The ctypes class for BCC's description: a scalar's name, or [name, [field, …], kind]."""
    if isinstance(description, str):
        return _SCALARS[description]
    name, fields, kind = description
    members = []
    for field in fields:
        type_ = decode_type(field[1])
        for length in field[2] if len(field) > 2 else ():
            type_ = type_ * length
        members.append((field[0], type_))
    base = ctypes.Union if kind == "union" else ctypes.Structure
    return type(str(name), (base,), {"_fields_": members})


def _element(leaf: Any) -> tuple[Any, int]:
    """The element type and number of a MANY() of bpf/arrays.h; of another type, itself and 1."""
    types = dict(getattr(leaf, "_fields_", ()))
    if types.keys() != {"first", "all"}:
        return leaf, 1
    return types["first"], ctypes.sizeof(types["all"]) // ctypes.sizeof(types["first"])


def elements(many: Any) -> Any:
    """The elements of a MANY() of bpf/arrays.h, as a live array."""
    element, count = _element(type(many))
    return (element * count).from_address(ctypes.addressof(many))


def fill(record: Any, **values: Any) -> None:
    """Assigns fields by name. Raises: AttributeError on a name the C struct does not have.

    (ctypes itself would accept it silently.)
    """
    for name, value in values.items():
        if not hasattr(type(record), name):
            raise AttributeError(f"struct {type(record).__name__} has no field {name}")
        setattr(record, name, value)


def map_memory(fd: int, leaf: Any, entries: int) -> Any:
    """An mmapable array's values, shape (entries,), as a live ctypes array."""
    size = ctypes.sizeof(leaf) * entries
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    return (leaf * entries).from_buffer(mmap.mmap(fd, pages))


class Table:
    """One pinned table. `memory` is for arrays: not for `vlans`, `denied`, `programs`, `rings`."""

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        self.path = path
        self.key = decode_type(description["key"])
        self.leaf, self._in_value = _element(decode_type(description["leaf"]))
        self._fd: int | None = None

    @property
    def fd(self) -> int:
        """The map's descriptor, opened once. Raises: NotAttached if the pin is gone."""
        if self._fd is None:
            try:
                self._fd = libbpf.obj_get(self.path)
            except KernelRefused as error:
                raise NotAttached(
                    f"the table {self.path} is gone", "attach the director again: xdplb attach"
                ) from error
        return self._fd

    @cached_property
    def id(self) -> int:
        """The kernel's id of the map, as bpftool shows it."""
        return int(libbpf.map_info(self.fd).id)

    @cached_property
    def entries(self) -> int:
        """How many of `leaf` it has: as values of the map, or in the MANY() of its one value."""
        return int(libbpf.map_info(self.fd).max_entries) * self._in_value

    @cached_property
    def memory(self) -> Any:
        """All entries, as a live array of `leaf`."""
        return map_memory(self.fd, self.leaf, self.entries)

    def __getitem__(self, index: int) -> Any:
        return self.memory[index]

    def close(self) -> None:
        """Closes the descriptor. The memory stays mapped while an object uses it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class PerCpu:
    """Records that each CPU has for itself in struct cpu. All their fields have 64 bits.

    The last record is Python's own: what to subtract. Clearing writes there. A CPU that counts at
    the same moment would lose a zero that is written to its own record, or count it twice.
    """

    def __init__(self, records: Sequence[Any]) -> None:
        """records: each CPU's, as a live array, and Python's."""
        *self._records, self._cleared = records

    @property
    def names(self) -> list[str]:
        """A record's fields."""
        return [name for name, _ in self._cleared[0]._fields_ if name != "pad"]

    def sum_cpus(self, index: int) -> dict[str, int]:
        """A record's fields by name, summed over all CPUs, since it was cleared."""
        cleared = self._cleared[index]
        return {name: n - getattr(cleared, name) for name, n in self._totals(index).items()}

    def clear_cpus(self, index: int) -> None:
        """Counts a record from zero."""
        fill(self._cleared[index], **self._totals(index))

    def _totals(self, index: int) -> dict[str, int]:
        each = [records[index] for records in self._records]
        return {name: sum(getattr(record, name) for record in each) for name in self.names}


class Tables:
    """All tables of one director, by their names in C: `tables.reals[3].address`."""

    def __init__(self, pin_dir: Path, descriptions: Mapping[str, Mapping[str, Any]]) -> None:
        self.pin_dir = pin_dir
        self._tables = {name: Table(pin_dir / name, d) for name, d in descriptions.items()}

    def __getattr__(self, name: str) -> Table:
        try:
            return self._tables[name]
        except KeyError:
            raise AttributeError(f"no table {name} in bpf/maps.h") from None

    def __iter__(self) -> Any:
        return iter(self._tables.items())

    @cached_property
    def counters(self) -> PerCpu:
        """The fate of all packets: one struct counters."""
        return PerCpu([[cpu.counters] for cpu in self.cpus.memory])

    @cached_property
    def real_stats(self) -> PerCpu:
        """What was sent to each real: struct stats, by the real's index."""
        return PerCpu([elements(cpu.stats) for cpu in self.cpus.memory])

    def close(self) -> None:
        """Closes all descriptors."""
        for table in self._tables.values():
            table.close()

    # ---- programs: for kinds of packets ------------------------------------------------------

    def put_programs(self, kinds: Mapping[int, int]) -> None:
        """Replaces programs, by enum kind. The program that calls them sees one store for each."""
        for kind, fd in kinds.items():
            libbpf.map_update(self.programs.fd, ctypes.c_uint32(kind), ctypes.c_uint32(fd))

    def open_programs(self) -> dict[int, int]:
        """Descriptors of the programs in the table, by enum kind. The caller closes them."""
        found = {}
        for kind in range(self.programs.entries):
            prog_id = ctypes.c_uint32()
            if libbpf.map_lookup(self.programs.fd, ctypes.c_uint32(kind), prog_id):
                found[kind] = libbpf.prog_get_fd_by_id(prog_id.value)
        return found

    # ---- vlans: by interface numbers ----------------------------------------------------------

    def put_vlans(self, wanted: Mapping[int, Vlan]) -> None:
        """Replaces the table's VLAN devices by these. Those with too many tags are left out."""
        for number, vlan in wanted.items():
            record = self.vlans.leaf()
            if len(vlan.tags) <= len(record.tag):
                fill(record, parent=vlan.parent, tags=len(vlan.tags))
                record.tag[: len(vlan.tags)] = [tag_word(*tag) for tag in vlan.tags]
                libbpf.map_update(self.vlans.fd, ctypes.c_uint32(number), record)
        for key in libbpf.map_keys(self.vlans.fd, ctypes.sizeof(ctypes.c_uint32)):
            if int.from_bytes(key, sys.byteorder) not in wanted:
                libbpf.map_delete(self.vlans.fd, ctypes.create_string_buffer(key, len(key)))

    # ---- denied: a trie of prefixes ----------------------------------------------------------

    def deny(self, prefix: Prefix) -> None:
        """Adds a prefix to the trie; no error if it has it."""
        libbpf.map_update(self.denied.fd, self.prefix_key(prefix), self.denied.leaf())

    def allow(self, prefix: Prefix) -> None:
        """Removes a prefix from the trie; no error if it does not have it."""
        libbpf.map_delete(self.denied.fd, self.prefix_key(prefix))

    def keep_denied(self, wanted: Collection[Prefix]) -> None:
        """Removes all prefixes but these from the trie."""
        kept = {bytes(self.prefix_key(prefix)) for prefix in wanted}
        for key in libbpf.map_keys(self.denied.fd, ctypes.sizeof(self.denied.key)):
            if key not in kept:
                libbpf.map_delete(self.denied.fd, ctypes.create_string_buffer(key, len(key)))

    def prefix_key(self, prefix: Prefix) -> Any:
        """A prefix as the trie's key."""
        key = self.denied.key()
        fill(key, length=prefix_length(prefix))
        ctypes.memmove(key.address, mapped(prefix.network_address), ctypes.sizeof(key.address))
        return key

    # ---- rings: inner maps of an array of maps -----------------------------------------------

    def has_ring(self, service: int) -> bool:
        """Whether a service has a ring."""
        return libbpf.map_lookup(self.rings.fd, ctypes.c_uint32(service), ctypes.c_uint32())

    def read_ring(self, service: int) -> Any:
        """The slots of a service's ring, shape (ring_slots,), live; None if it has no ring."""
        inner = ctypes.c_uint32()
        if not libbpf.map_lookup(self.rings.fd, ctypes.c_uint32(service), inner):
            return None
        fd = libbpf.map_get_fd_by_id(inner.value)
        try:
            return map_memory(fd, self.ring.leaf, self.ring.entries)
        finally:
            os.close(fd)

    def write_ring(self, service: int, slots: bytes) -> None:
        """As write_rings(), for one service."""
        self.write_rings({service: slots})

    def write_rings(self, rings: Mapping[int, bytes]) -> None:
        """Builds new rings and swaps them in. The program sees one store for each.

        rings: by service id, the bytes of `ring_slots` struct slot.
        """
        fds: list[int] = []
        try:
            for slots in rings.values():
                fds.append(self._build_ring(slots))
            array = ctypes.c_uint32 * len(rings)
            libbpf.map_update_batch(self.rings.fd, array(*rings), array(*fds))
        finally:
            for fd in fds:
                os.close(fd)

    def _build_ring(self, slots: bytes) -> int:
        leaf, entries = self.ring.leaf, self.ring.entries
        fd = libbpf.map_create_like(self.ring.fd, "ring")
        ctypes.memmove(map_memory(fd, leaf, entries), slots, ctypes.sizeof(leaf) * entries)
        return fd

    def drop_ring(self, service: int) -> None:
        """Removes a service's ring."""
        libbpf.map_delete(self.rings.fd, ctypes.c_uint32(service))

    def drop_rings(self, services: Collection[int]) -> None:
        """As drop_ring(), for many at once: for each, the kernel waits some milliseconds."""
        if len(services) < 2:
            for service in services:
                self.drop_ring(service)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(WAITING_TOGETHER) as pool:
            list(pool.map(self.drop_ring, services))
