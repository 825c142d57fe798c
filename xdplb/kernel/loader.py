# SPDX-License-Identifier: MIT
"""Loading a compiled program: its tables, pinned ones or new, and its functions."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdplb.errors import KernelRefused, XdplbError, last_words
from xdplb.kernel import libbpf, program_text
from xdplb.kernel.compiled import Compiled, CompiledTable, rename_tables


@dataclass(frozen=True)
class Program:
    """A loaded program. It lives until close(), or as long as what is pinned or linked of it.

    functions, maps: descriptors by name. tables: for each table by name, what BCC says of it:
    {"key": …, "leaf": …}, BCC's own JSON descriptions of the C types.
    """

    functions: Mapping[str, int]
    maps: Mapping[str, int]
    tables: Mapping[str, Any]

    @property
    def fd(self) -> int:
        """The first function's descriptor."""
        return next(iter(self.functions.values()))

    @property
    def kinds(self) -> dict[int, int]:
        """The director's: descriptors of the programs that go into `programs`, by enum kind."""
        return {number: self.functions[name] for number, name in program_text.kinds().items()}

    def close(self) -> None:
        """Gives the descriptors back."""
        for fd in (*self.functions.values(), *self.maps.values()):
            os.close(fd)


def load(compiled: Compiled, pins: Path | None = None, *, frags: bool = False) -> Program:
    """Load a program over the tables that are pinned in a directory, and pin there what is not.

    pins: None pins nothing. frags: all functions take frames of several buffers, jumbo frames.
    Raises: XdplbError if a pinned table is another one, or with the verifier's last words;
    KernelRefused, NoPermission. Then nothing is left of it.
    """
    with ExitStack() as undo:
        maps: dict[str, int] = {}
        for table in sorted(compiled.tables, key=lambda each: bool(each.inner)):
            maps[table.name] = _open_table(table, pins, maps.get(table.inner, 0), undo)
        fds = [maps[table.name] for table in compiled.tables]
        functions = {}
        for name, code in compiled.functions.items():
            ready = rename_tables(code, lambda instruction: fds[instruction.immediate])
            functions[name] = _load_function(name, ready, frags)
            undo.callback(os.close, functions[name])
        undo.pop_all()
    described = {each.name: {"key": each.key, "leaf": each.leaf} for each in compiled.tables}
    return Program(functions, maps, described)


def _open_table(table: CompiledTable, pins: Path | None, inner: int, undo: ExitStack) -> int:
    pin = pins / table.name if pins else None
    if pin and pin.exists():
        fd = libbpf.obj_get(pin)
        undo.callback(os.close, fd)
        _check_same(fd, table, pin)
        return fd
    sizes = table.key_size, table.value_size, table.max_entries
    more = {"inner_map_fd": inner} if inner else {}
    fd = libbpf.map_create(table.name, table.type, *sizes, table.flags, **more)
    undo.callback(os.close, fd)
    if pin:
        libbpf.obj_pin(fd, pin)
        undo.callback(pin.unlink)
    return fd


def _check_same(fd: int, table: CompiledTable, pin: Path) -> None:
    info = libbpf.map_info(fd)
    for what, found, wanted in (
        ("type", info.type, table.type),
        ("key size", info.key_size, table.key_size),
        ("value size", info.value_size, table.value_size),
        ("number of entries", info.max_entries, table.max_entries),
        ("flags", info.map_flags, table.flags),
    ):
        if found != wanted:
            raise XdplbError(
                f"the table {pin} is not the program's: its {what} is {found}, not {wanted}",
                f"remove it, and run the command again (rm {pin})",
            )


def _load_function(name: str, code: bytes, frags: bool) -> int:
    try:
        return libbpf.prog_load(code, name, frags=frags)
    except KernelRefused as error:
        raise XdplbError(
            f"the kernel does not load {name}: {last_words(str(error))}",
            "if the program's text is unchanged, this kernel is older than xdplb needs (Linux 6.1)",
        ) from error
