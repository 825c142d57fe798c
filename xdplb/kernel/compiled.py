# SPDX-License-Identifier: MIT
"""A compiled program as a plain value: its instructions, and the tables that they name.

An instruction names a table by its number in `Compiled.tables`. So nothing of a process, a kernel
or an instance is in it, and it can be kept in a file.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from xdplb.kernel import libbpf


@dataclass(frozen=True)
class CompiledTable:
    """What it takes to create a table. Sizes in bytes; type and flags as in bpf_map_create().

    inner: the table that an array of maps takes its inner maps' sizes from, else "". key, leaf:
    BCC's descriptions of the C types.
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    inner: str
    key: Any
    leaf: Any


@dataclass(frozen=True)
class Compiled:
    """functions: each program's raw instructions, by its name in C. compiler: who made them."""

    functions: Mapping[str, bytes]
    tables: tuple[CompiledTable, ...]
    compiler: str

    def encode(self) -> bytes:
        """As JSON."""
        functions = {name: b64encode(code).decode() for name, code in self.functions.items()}
        tables = [asdict(table) for table in self.tables]
        value = {"compiler": self.compiler, "functions": functions, "tables": tables}
        return json.dumps(value, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, text: bytes) -> "Compiled":
        """What encode() gave."""
        value = json.loads(text)
        functions = {name: b64decode(code) for name, code in value["functions"].items()}
        tables = tuple(CompiledTable(**table) for table in value["tables"])
        return cls(functions, tables, value["compiler"])


def rename_tables(code: bytes, new: Callable[[libbpf.Instruction], int]) -> bytes:
    """The instructions with another number in each that names a table."""
    program = bytearray(code)
    opcodes, at = code[::8], -1  # of the second half of a long instruction: 0
    while (at := opcodes.find(libbpf.LOAD_IMMEDIATE_64, at + 1)) >= 0:
        instruction = libbpf.Instruction.from_buffer(program, 8 * at)
        if instruction.source in (libbpf.PSEUDO_MAP_FD, libbpf.PSEUDO_MAP_VALUE):
            instruction.immediate = new(instruction)
    return bytes(program)
