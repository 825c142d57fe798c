# SPDX-License-Identifier: MIT
"""Compiling a program with BCC: the only module that imports bcc, in a process of its own.

BCC takes several hundred MB, writes to standard error, and creates the tables that it compiles
against. All of that ends with the process, and the process ends with its parent.
"""

import ctypes
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xdplb.errors import MissingPart, NoPermission, XdplbError, last_words
from xdplb.kernel import headers, libbpf, program_text
from xdplb.kernel.compiled import Compiled, CompiledTable, rename_tables
from xdplb.kernel.program_text import Source

CFLAGS = (
    *("-Wall", "-Werror", "-Wno-unused-function"),
    *("-Xclang", "-disable-llvm-passes"),  # bcc optimises what clang gives it: once is enough
)
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_VERSION = re.compile(r"""__version__ = ['"](?P<version>[^'"]+)""")
_INNER = re.compile(r'"\w+_of_maps\$(?P<inner>\w+)"\s*,[^,]+,[^,]+,\s*(?P<outer>\w+)\s*,')


def version() -> str | None:
    """The installed compiler's name and version, without importing it; None if there is none."""
    import importlib.util

    found = importlib.util.find_spec("bcc")
    for directory in (found and found.submodule_search_locations) or ():
        try:
            match = _VERSION.search(Path(directory, "version.py").read_text())
        except OSError:
            continue
        if match:
            return f"bcc {match['version']}"
    return None


def compile(source: Source) -> Compiled:  # noqa: A001
    """Compile XDP programs. Takes some seconds, and says so in the log.

    Raises: MissingPart without bcc or headers; NoPermission; XdplbError with the compiler's last
    words where the text does not compile.
    """
    import logging
    import subprocess

    made_by = version()
    if made_by is None:
        raise MissingPart(
            f"{sys.executable} has no module bcc",
            "run: apt-get install python3-bpfcc, and use a venv made by "
            "/usr/bin/python3 -m venv --system-site-packages",
        )
    found = headers.find_headers()
    if os.geteuid() != 0:
        raise NoPermission("compiling creates tables, which are root's", "use sudo")
    logging.getLogger(__name__).warning("compiling %s, once", source.file)
    tree, seen = headers.compiler_view(found)
    order = {
        "parent": os.getpid(),
        "text": source.text,
        "functions": source.functions,
        "flags": [*CFLAGS, *source.flags, *seen],
        "compiler": made_by,
    }
    path = os.pathsep.join(map(os.path.abspath, sys.path))  # the child finds what we find
    child = subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps(order).encode(),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path, "BCC_KERNEL_SOURCE": str(tree)},
    )
    if child.returncode:
        said = last_words(child.stderr.decode(errors="replace"))
        raise XdplbError(
            f"{source.file} does not compile: {said or f'status {child.returncode}'}",
            f"if the text is unchanged, {made_by} or the headers in {found} are not those that "
            "xdplb needs (bcc 0.26, Linux 6.1)",
        )
    return Compiled.decode(child.stdout)


def _main() -> None:
    """Compiles the order on standard input. The result goes to standard output."""
    order = json.load(sys.stdin)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != order["parent"]:  # it ended before we had asked to end with it
        sys.exit(1)
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # where the compiler may write
        compiled = _compile(order["text"], order["functions"], order["flags"], order["compiler"])
        out.write(compiled.encode())


def _compile(text: str, functions: Sequence[str], flags: Sequence[str], compiler: str) -> Compiled:
    import bcc

    module = bcc.BPF(text=text.encode(), cflags=flags)
    lib = _declared(bcc.lib)
    tables = tuple(
        _read_table(lib, module.module, number, text)
        for number in range(lib.bpf_num_tables(module.module))
    )
    numbers = {table.name: number for number, table in enumerate(tables)}
    named = {lib.bpf_table_fd_id(module.module, number): number for number in numbers.values()}
    direct = {
        number: numbers[name.removeprefix("DIRECT_").lower()]
        for name, number in program_text.enums_of(text).get("direct", {}).items()
    }

    def number_of(instruction: libbpf.Instruction) -> int:
        """BCC has put a descriptor there, and VALUE() in bpf/maps.h has put a number."""
        by_value = instruction.source == libbpf.PSEUDO_MAP_VALUE
        return (direct if by_value else named)[instruction.immediate]

    codes = {}
    for name in functions:
        start = lib.bpf_function_start(module.module, name.encode())
        size = lib.bpf_function_size(module.module, name.encode())
        codes[name] = rename_tables(ctypes.string_at(start, size), number_of)
    return Compiled(codes, tables, compiler)


def _declared(lib: Any) -> Any:
    """Libbcc exports these, and bcc 0.26 does not declare them all."""
    answers: Mapping[str, Any] = {
        "name": ctypes.c_char_p,
        "fd_id": ctypes.c_int,
        "type_id": ctypes.c_int,
        "flags_id": ctypes.c_int,
        "key_size_id": ctypes.c_size_t,
        "leaf_size_id": ctypes.c_size_t,
        "max_entries_id": ctypes.c_size_t,
        "key_desc_id": ctypes.c_char_p,
        "leaf_desc_id": ctypes.c_char_p,
    }
    for name, type_ in answers.items():
        function = getattr(lib, f"bpf_table_{name}")
        function.restype, function.argtypes = type_, (ctypes.c_void_p, ctypes.c_size_t)
    return lib


def _read_table(lib: Any, module: Any, number: int, text: str) -> CompiledTable:
    def ask(what: str) -> Any:
        return getattr(lib, f"bpf_table_{what}")(module, number)

    name = ask("name").decode()
    inner = {match["outer"]: match["inner"] for match in _INNER.finditer(text)}
    return CompiledTable(
        name=name,
        type=ask("type_id"),
        key_size=ask("key_size_id"),
        value_size=ask("leaf_size_id"),
        max_entries=ask("max_entries_id"),
        flags=ask("flags_id"),
        inner=inner.get(name, ""),  # which libbcc does not tell
        key=json.loads(ask("key_desc_id")),
        leaf=json.loads(ask("leaf_desc_id")),
    )


if __name__ == "__main__":
    _main()
