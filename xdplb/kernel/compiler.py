# SPDX-License-Identifier: MIT
"""Compiling and loading a program with BCC: the only module that imports bcc."""

import ctypes
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xdplb.errors import MissingPart, XdplbError
from xdplb.kernel import headers, libbpf, program_text

CFLAGS = (
    *("-Wall", "-Werror", "-Wno-unused-function"),
    *("-Xclang", "-disable-llvm-passes"),  # bcc optimises what clang gives it: once is enough
)


@dataclass(frozen=True)
class Program:
    """A loaded program. It lives as long as `fd`, or as what is pinned or linked of it.

    tables: for each table by name, what BCC says of it: {"key": …, "leaf": …}, BCC's own JSON
    descriptions of the C types.
    """

    fd: int
    kinds: dict[int, int]  # descriptors of the programs that go into `programs`, by enum kind
    tables: dict[str, Any]
    headers: str
    module: Any  # BCC's object: it closes the fd when it goes


def compile_program(
    file: str,
    function: str,
    flags: Sequence[str],
    directory: Path = program_text.BPF_DIR,
    kinds: Mapping[int, str] = MappingProxyType({}),
    *,
    frags: bool = False,
) -> Program:
    """Compile and load an XDP program; its tables are pinned where the text says.

    kinds: functions that are programs which it hands packets over to, by enum kind. frags: all take
    frames of several buffers, jumbo frames.

    Raises: MissingPart without bcc or headers; XdplbError with the compiler's or the verifier's
    last words where the text does not compile or load.
    """
    bcc = _import_bcc()
    found = headers.find_headers()
    text = program_text.splice(file, directory)
    with (
        headers.header_tree(found) as tree,
        _environment("BCC_KERNEL_SOURCE", str(tree)),
        _captured_stderr() as said,
    ):
        try:
            module = bcc.BPF(text=text, cflags=[*CFLAGS, *flags])
            loaded, *others = (
                _load(bcc, module, name, frags=frags) for name in (function, *kinds.values())
            )
        except Exception as error:
            raise XdplbError(
                f"{file} does not load: {_last_words(said() or str(error))}",
                "if the text is unchanged, this kernel or bcc is older than xdplb needs "
                "(Linux 6.1, bcc 0.26)",
            ) from error
    return Program(
        loaded, dict(zip(kinds, others, strict=True)), _describe(bcc, module), str(found), module
    )


def compile_director(
    flags: Sequence[str], directory: Path = program_text.BPF_DIR, *, frags: bool = False
) -> Program:
    """As compile_program(), of the director with the programs that it hands packets over to."""
    return compile_program("xdplb.c", "xdplb", flags, directory, program_text.kinds(), frags=frags)


def _import_bcc() -> Any:
    try:
        import bcc
    except ImportError as error:
        raise MissingPart(
            f"{sys.executable} has no module bcc",
            "run: apt-get install python3-bpfcc, and use a venv made by "
            "/usr/bin/python3 -m venv --system-site-packages",
        ) from error
    return bcc


def _load(bcc: Any, module: Any, function: str, *, frags: bool) -> int:
    """By libbpf: bcc's own loading knows no flags."""
    start = bcc.lib.bpf_function_start(module.module, function.encode())
    size = bcc.lib.bpf_function_size(module.module, function.encode())
    _address_directly(module, (libbpf.Instruction * (size // 8)).from_address(start))
    fd = libbpf.prog_load(ctypes.string_at(start, size), function, frags=frags)
    module.funcs[function.encode()] = bcc.BPF.Function(module, function, fd)  # which it closes
    return fd


def _address_directly(module: Any, program: Iterable[libbpf.Instruction]) -> None:
    """Puts tables' descriptors in the place of their numbers: VALUE() in bpf/maps.h."""
    names = {number: name for name, number in program_text.enum_values("direct").items()}
    for instruction in program:
        if (
            instruction.code == libbpf.LOAD_IMMEDIATE_64
            and instruction.source == libbpf.PSEUDO_MAP_VALUE
        ):
            table = names[instruction.immediate].removeprefix("DIRECT_").lower()
            instruction.immediate = module[table].map_fd


def _describe(bcc: Any, module: Any) -> dict[str, Any]:
    lib, tables = bcc.lib, {}
    # libbcc exports it, and bcc 0.26 does not declare it.
    lib.bpf_table_name.restype = ctypes.c_char_p
    lib.bpf_table_name.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    for index in range(lib.bpf_num_tables(module.module)):
        name = lib.bpf_table_name(module.module, index)
        tables[name.decode()] = {
            "key": json.loads(lib.bpf_table_key_desc(module.module, name)),
            "leaf": json.loads(lib.bpf_table_leaf_desc(module.module, name)),
        }
    return tables


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _captured_stderr() -> Iterator[Any]:
    """The compiler and the verifier write to the file descriptor itself."""
    import tempfile

    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        saved = os.dup(2)
        os.dup2(log.fileno(), 2)

        def said() -> str:
            log.seek(0)
            return log.read().decode(errors="replace")

        try:
            yield said
        finally:
            ctypes.CDLL(None).fflush(None)
            os.dup2(saved, 2)
            os.close(saved)


def _last_words(log: str) -> str:
    if os.environ.get("XDPLB_VERBOSE"):
        return log
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]
    return " / ".join(errors[:3] or lines[-4:])
