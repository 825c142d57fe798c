# SPDX-License-Identifier: MIT
"""Compiling in a process of its own, the cache, and loading without a compiler."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from balancer import BPFFS, SMALL, require_root

from xdplb.errors import XdplbError
from xdplb.kernel import compiler, libbpf, loader, program_cache, program_text
from xdplb.kernel.clock import running_clock

HASH, ARRAY_OF_MAPS = 1, 12  # enum bpf_map_type
TEXT = """
#include <uapi/linux/bpf.h>
BPF_F_TABLE("array", __u32, __u64, seen, 4, BPF_F_MMAPABLE);
BPF_F_TABLE("array_of_maps$seen", __u32, __u32, many, 2, 0);

int count(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *value = seen.lookup(&zero);

	if (value)
		(*value)++;
	return XDP_DROP;
}

int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}
"""


@pytest.fixture
def pins():
    """A pin directory."""
    require_root()
    directory = BPFFS / f"xdplb-test-{os.getpid()}"
    directory.mkdir(mode=0o700)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small program, compiled: with two functions and a table of tables."""
    require_root()
    directory = tmp_path_factory.mktemp("text")
    (directory / "small.c").write_text(TEXT)
    source = program_text.read_source("small.c", ["count", "pass"], directory=directory)
    return compiler.compile(source)


def test_a_kept_program_is_the_compiled_one():
    """The director's instructions and tables, from the cache and from the compiler."""
    require_root()
    source = program_text.director(SMALL, running_clock())
    kept = program_cache.compiled(source)

    assert compiler.compile(source) == kept
    assert ("xdplb", *program_text.kinds().values()) == tuple(kept.functions)


def test_what_the_compiler_says_of_tables(small):
    """All that it takes to create them."""
    seen, many = sorted(small.tables, key=lambda table: table.name, reverse=True)

    assert ("seen", 2, 4, 8, 4, 1 << 10, "") == (
        *(seen.name, seen.type, seen.key_size, seen.value_size),
        *(seen.max_entries, seen.flags, seen.inner),
    )
    assert ("many", ARRAY_OF_MAPS, 2, "seen") == (
        *(many.name, many.type, many.max_entries, many.inner),
    )
    assert ("unsigned int", "unsigned long long") == (seen.key, seen.leaf)


def test_a_program_counts_in_its_pinned_table(small, pins):
    """Tables are created, pinned by their names, and put where the instructions name them."""
    with closing(loader.load(small, pins)) as program:
        first = libbpf.prog_test_run(program.fd, bytes(64)).action
        second = libbpf.prog_test_run(program.functions["pass"], bytes(64)).action

    assert (1, 2) == (first, second)
    assert ["many", "seen"] == sorted(path.name for path in pins.iterdir())
    assert 1 == read(pins / "seen")


def read(pin):
    value = ctypes.c_uint64()
    fd = libbpf.obj_get(pin)
    libbpf.map_lookup(fd, ctypes.c_uint32(0), value)
    os.close(fd)
    return value.value


def test_pinned_tables_are_used_again(small, pins):
    """The next program of the same tables goes on where the last one was."""
    for _ in range(3):
        with closing(loader.load(small, pins)) as program:
            libbpf.prog_test_run(program.fd, bytes(64))

    assert 3 == read(pins / "seen")


def test_a_new_map_may_stand_in_a_map_of_maps(small, pins):
    """As rings do. (Linux 6.1 compares more of them than their sizes: tests/vm.)"""
    with closing(loader.load(small, pins)) as program:
        new = libbpf.map_create_like(program.maps["seen"], "new")
        libbpf.map_update(program.maps["many"], ctypes.c_uint32(1), ctypes.c_uint32(new))
        os.close(new)


OTHERS = {
    "type": (HASH, 4, 8, 4, 0),
    "value size": (2, 4, 16, 4, 1 << 10),
    "number of entries": (2, 4, 8, 5, 1 << 10),
    "flags": (2, 4, 8, 4, 0),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_pinned_table_of_another_shape_is_refused(small, pins, what):
    """It is named, and nothing else is pinned."""
    foreign = libbpf.map_create("seen", *OTHERS[what])
    libbpf.obj_pin(foreign, pins / "seen")
    os.close(foreign)

    with pytest.raises(XdplbError, match=f"{pins}/seen is not the program's: its {what} is"):
        loader.load(small, pins)
    assert ["seen"] == [path.name for path in pins.iterdir()]


def test_what_the_verifier_refuses_leaves_nothing(small, pins):
    """No pin and no descriptor, and the verifier's last words."""
    loop = bytes.fromhex("0500ffff00000000")
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(XdplbError, match="the kernel does not load pass: "):
        loader.load(type(small)({**small.functions, "pass": loop}, small.tables, ""), pins)
    assert [] == list(pins.iterdir())
    assert before == len(list(Path("/proc/self/fd").iterdir()))


def test_an_error_names_the_line(tmp_path):
    """Of the header where it is."""
    require_root()
    (tmp_path / "a.c").write_text('#include "b.h"\n')
    (tmp_path / "b.h").write_text("int a;\nint b() { return c; }\n")
    source = program_text.read_source("a.c", ["b"], directory=tmp_path)

    with pytest.raises(XdplbError, match=r"a\.c does not compile: b\.h:2:18: error: use of"):
        compiler.compile(source)


COMPILE = """
from xdplb.kernel import compiler, program_text
from xdplb.kernel.clock import running_clock
from xdplb.model.tunables import Tunables
compiler.compile(program_text.director(Tunables(max_reals=64), running_clock()))
"""


def children(pid):
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []


def has_compiler(pid):
    """Whether it has loaded bcc: compiling takes seconds from there."""
    return "libbcc" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("when", ["at once", "while it compiles"])
def test_who_is_killed_while_it_compiles_leaves_nothing(tmp_path, when):
    """The compiling process ends with it, and no file stays."""
    require_root()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ours = subprocess.Popen([sys.executable, "-c", COMPILE], env=environment)
    while not (found := children(ours.pid)):
        time.sleep(0.01)
    (child,) = found
    while when == "while it compiles" and not has_compiler(child):
        time.sleep(0.01)
    ours.send_signal(signal.SIGKILL)
    ours.wait()

    deadline = time.monotonic() + 30
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists()
    assert [] == list(tmp_path.iterdir())


def test_the_compilers_memory_is_not_ours():
    """Several hundred MB stay in the other process; bcc is not imported here."""
    require_root()
    code = "import resource, sys; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    code += COMPILE + "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    code += "print(after - before, 'bcc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    more_kb, imported = done.stdout.split()

    assert int(more_kb) < 20_000
    assert "False" == imported
    assert "compiling xdplb.c, once\n" == done.stderr
