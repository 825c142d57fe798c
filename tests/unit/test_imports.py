# SPDX-License-Identifier: MIT
"""The design's rules about files: who imports whom, how long they are, what they begin with."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "xdplb"

# From top to bottom: a module imports what is below it, or what is in its own package.
LAYERS = (
    {"cli"},
    {"lab", "traffic"},
    {"director", "realserver"},
    {"host"},
    {"kernel"},
    {"model"},
    {"errors"},
)
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}

# The one file that may import a library, and only inside functions: it is slow, or not everywhere.
WRAPPED = {"bcc": "kernel/compiler.py", "pyroute2": "host/netlink.py"}

PYTHON_LINES, C_LINES = 400, 250
PYTHON = sorted(
    path
    for directory in ("xdplb", "tests", "tools", "bench")
    for path in (ROOT / directory).rglob("*.py")
)
C = sorted(path for suffix in ("*.c", "*.h") for path in (ROOT / "bpf").rglob(suffix))
OTHER = [
    *map(ROOT.joinpath, ("Makefile", "tools/setup", ".ci/run")),
    *sorted(PACKAGE.rglob("*.sh")),
]


def name(path: Path) -> str:
    """Name a file in a test's id and message."""
    return str(path.relative_to(ROOT))


def modules() -> list[Path]:
    """Every module of the package that has a layer."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part(path: Path) -> str:
    """The part of the package that a file belongs to: its module or first directory."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the modules that a file imports, by full name, and whether inside a function."""
    tree = ast.parse(path.read_text())
    inner = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in inner
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: imports are written in full"
            module = node.module or ""
            for alias in node.names:  # `from xdplb import net` names a module, not a value
                yield f"{module}.{alias.name}" if module == "xdplb" else module, node in inner


@pytest.mark.parametrize("path", modules(), ids=name)
def test_every_module_has_a_place(path):
    """Every module has a layer, in the design and here."""
    assert part(path) in DEPTH, f"put '{part(path)}' into LAYERS"


@pytest.mark.parametrize("path", modules(), ids=name)
def test_imports_point_down(path):
    """A module imports only from lower layers and its own package."""
    own = part(path)
    for imported, _ in imports(path):
        top, _, rest = imported.partition(".")
        other = rest.partition(".")[0]
        if top == "xdplb" and other in DEPTH and other != own:
            assert DEPTH[own] < DEPTH[other], f"{own} must not import {other}"


@pytest.mark.parametrize("path", modules(), ids=name)
def test_foreign_libraries_are_wrapped_once(path):
    """One file each imports bcc and pyroute2, inside functions."""
    for imported, inside in imports(path):
        library = imported.partition(".")[0]
        if library in WRAPPED:
            assert path.relative_to(PACKAGE).as_posix() == WRAPPED[library]
            assert inside, f"{imported} is imported at the top; import it inside a function"


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_python_files_are_short(path):
    """A file that grows beyond this bound should be split."""
    lines = len(path.read_text().splitlines())

    assert lines < PYTHON_LINES


@pytest.mark.parametrize("path", C, ids=name)
def test_c_files_are_short(path):
    """A stage is one to three screens long."""
    lines = len(path.read_text().splitlines())

    assert lines <= C_LINES


@pytest.mark.parametrize("path", [*PYTHON, *C, *OTHER], ids=name)
def test_files_name_their_licence(path):
    """Each source file begins with an SPDX line; in bpf/ it is GPL-2.0-only."""
    licence = "GPL-2.0-only" if path in C else "MIT"
    head = path.read_text().splitlines()[:2]

    assert any(f"SPDX-License-Identifier: {licence}" in line for line in head)
