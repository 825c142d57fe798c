# SPDX-License-Identifier: MIT
"""The cache of compiled programs: when a file serves, and when the program is compiled again."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from xdplb.kernel import compiler, libbpf, program_cache, program_text
from xdplb.kernel.clock import Clock
from xdplb.kernel.compiled import Compiled, CompiledTable, rename_tables
from xdplb.kernel.program_text import Source
from xdplb.model.tunables import Tunables

SOURCE = Source("a.c", "int a() {}", ("a",), ("-DN=1",))
TABLE = CompiledTable("reals", 2, 4, 8, 16, 0, "", "int", ["real", [["x", "int"]], "struct"])
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


class Compiler:
    """Counts how often it is asked; what it makes tells the times apart."""

    installed: str | None = "bcc 1"

    def __init__(self):
        self.asked = 0

    def compile(self, source):
        self.asked += 1
        return Compiled({"a": self.asked.to_bytes(8)}, (TABLE,), str(self.installed))


@pytest.fixture
def bcc(monkeypatch, tmp_path):
    """A compiler that is not bcc, and an empty place for the cache."""
    fake = Compiler()
    monkeypatch.setattr(compiler, "compile", fake.compile)
    monkeypatch.setattr(compiler, "version", lambda: fake.installed)
    monkeypatch.setattr(program_cache, "DIRECTORY", tmp_path / "xdplb")
    return fake


def the_file():
    """The one program that is kept."""
    (file,) = program_cache.DIRECTORY.glob("*.json")
    return file


def mode(path):
    return path.lstat().st_mode & 0o7777


def test_a_program_is_compiled_once(bcc):
    """What is found is what was kept."""
    first = program_cache.compiled(SOURCE)

    assert first == program_cache.compiled(SOURCE)
    assert 1 == bcc.asked


@pytest.mark.parametrize(
    "change",
    [{"text": "int a() { }"}, {"functions": ("a", "b")}, {"flags": ("-DN=2",)}, {"flags": ()}],
    ids=str,
)
def test_whatever_the_instructions_depend_on_is_in_the_key(bcc, change):
    """Another text, function or flag is another program; both are kept."""
    other = replace(SOURCE, **change)
    program_cache.compiled(SOURCE)

    assert program_cache.compiled(SOURCE) != program_cache.compiled(other)
    assert program_cache.compiled(SOURCE) != program_cache.compiled(other)
    assert 2 == bcc.asked


def test_another_machine_has_another_program(bcc, monkeypatch):
    """A cache on a disk that moves, or in an image."""
    program_cache.compiled(SOURCE)
    here = os.uname()
    monkeypatch.setattr(os, "uname", lambda: type(here)((*here[:4], "another")))
    program_cache.compiled(SOURCE)

    assert 2 == bcc.asked


def test_a_header_is_part_of_the_text(tmp_path):
    """Whoever edits a header compiles anew."""
    (tmp_path / "a.c").write_text('#include "a.h"\n')
    (tmp_path / "a.h").write_text("int a;\n")
    before = program_text.read_source("a.c", ["a"], directory=tmp_path)
    (tmp_path / "a.h").write_text("int b;\n")

    assert before.text != program_text.read_source("a.c", ["a"], directory=tmp_path).text


@pytest.mark.parametrize(
    ("tunables", "clock"),
    [(Tunables(max_reals=4096), Clock(250)), (Tunables(), Clock(1000))],
    ids=["tunables", "HZ"],
)
def test_the_directors_flags(tunables, clock):
    """Sizes and the kernel's HZ are flags; where an instance's pins are is not."""
    default = program_text.director(Tunables(), Clock(250))

    assert default.flags != program_text.director(tunables, clock).flags
    assert default == program_text.director(Tunables(), Clock(250))
    assert not [flag for flag in default.flags if "/" in flag]


def test_the_number_of_cpus_is_a_flag(monkeypatch):
    """Each CPU's counters have their place in a table."""
    before = program_text.director(Tunables(), Clock(250))
    monkeypatch.setattr(libbpf, "possible_cpus", lambda: 1000)

    assert before.flags != program_text.director(Tunables(), Clock(250)).flags


def test_another_compiler_makes_it_anew(bcc):
    """The file of an older bcc is stale, and replaced."""
    old = program_cache.compiled(SOURCE)
    bcc.installed = "bcc 2"
    new = program_cache.compiled(SOURCE)

    assert old != new == program_cache.compiled(SOURCE)
    assert 2 == bcc.asked


def test_no_compiler_is_needed(bcc):
    """Where bcc is not installed, what was packaged serves."""
    packaged = program_cache.compiled(SOURCE)
    bcc.installed = None

    assert packaged == program_cache.compiled(SOURCE)
    assert 1 == bcc.asked


def cut_to(share):
    def cut(file):
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])

    return cut


def flip_a_bit(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def put_another_program(file):
    """A whole one, of another key."""
    program_cache.compiled(replace(SOURCE, text="another"))
    (other,) = set(program_cache.DIRECTORY.glob("*.json")) - {file}
    other.replace(file)


def put_a_link(file):
    """To what would be trusted at its own place."""
    file.rename(file.with_name("kept"))
    file.symlink_to(file.with_name("kept"))


def put_a_fifo(file):
    file.unlink()
    os.mkfifo(file, 0o600)


DISTRUSTED = {
    "empty": cut_to(0),
    "cut in its first line": cut_to(0.05),
    "cut to half": cut_to(0.5),
    "a byte too short": cut_to(0.999),
    "another bit": flip_a_bit,
    "another program": put_another_program,
    "a symbolic link": put_a_link,
    "a FIFO": put_a_fifo,
    "others may write it": lambda file: file.chmod(0o602),
    "a group may write it": lambda file: file.chmod(0o620),
    "somebody else's": pytest.param(lambda file: os.chown(file, 65534, 0), marks=ROOT),
}


@pytest.mark.parametrize("change", DISTRUSTED.values(), ids=DISTRUSTED)
def test_a_distrusted_file_is_made_anew(bcc, change):
    """It is not read, but replaced by one that is ours alone."""
    program_cache.compiled(SOURCE)
    file = the_file()
    change(file)
    asked = bcc.asked

    made = program_cache.compiled(SOURCE)

    assert asked + 1 == bcc.asked
    assert made == program_cache.compiled(SOURCE)
    assert asked + 1 == bcc.asked
    assert (0o600, os.geteuid()) == (mode(file), file.lstat().st_uid)
    assert file.is_file() and not file.is_symlink()


def link_the_directory(directory):
    directory.rename(directory.with_name("elsewhere"))
    directory.symlink_to(directory.with_name("elsewhere"))


def put_a_file(directory):
    directory.rename(directory.with_name("elsewhere"))
    directory.touch()


DIRECTORIES = {
    "everybody's": lambda directory: directory.chmod(0o777),
    "a group's": lambda directory: directory.chmod(0o770),
    "a symbolic link": link_the_directory,
    "a file": put_a_file,
    "somebody else's": pytest.param(lambda path: os.chown(path, 65534, 0), marks=ROOT),
}


@pytest.mark.parametrize("change", DIRECTORIES.values(), ids=DIRECTORIES)
def test_a_distrusted_directory_is_made_anew(bcc, change):
    """With nothing of what was there. What a link pointed to stays as it is."""
    program_cache.compiled(SOURCE)
    directory = program_cache.DIRECTORY
    change(directory)

    program_cache.compiled(SOURCE)
    program_cache.compiled(SOURCE)

    assert 2 == bcc.asked
    assert (0o700, os.geteuid()) == (mode(directory), directory.lstat().st_uid)
    elsewhere = directory.with_name("elsewhere")
    assert not elsewhere.exists() or list(elsewhere.glob("*.json"))


@pytest.mark.parametrize("umask", [0, 0o777], ids=oct)
def test_modes_do_not_depend_on_the_umask(bcc, umask):
    """Directory and file are for their owner, whatever it is."""
    before = os.umask(umask)
    try:
        program_cache.compiled(SOURCE)
    finally:
        os.umask(before)

    assert 0o700 == mode(program_cache.DIRECTORY)
    assert 0o600 == mode(the_file())


def test_a_place_that_cannot_be_written_is_a_note(bcc, monkeypatch, tmp_path, caplog):
    """The program is compiled each time, and one line says why."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(program_cache, "DIRECTORY", tmp_path / "file/xdplb")

    program_cache.compiled(SOURCE)
    (said,) = caplog.messages
    program_cache.compiled(SOURCE)

    assert f"{program_cache.DIRECTORY} cannot be written (Not a directory)" in said
    assert 2 == bcc.asked


def test_what_cannot_be_written_leaves_nothing(bcc, monkeypatch, caplog):
    """A disk that fills up while the file is written: as if it had not begun."""

    def full(fd):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    program_cache.compiled(SOURCE)

    assert ["lock"] == [path.name for path in program_cache.DIRECTORY.iterdir()]
    assert "No space left on device" in caplog.text
    assert 1 == bcc.asked


def test_what_a_killed_command_left_is_replaced(bcc):
    """It had written half a file."""
    program_cache.DIRECTORY.mkdir(mode=0o700)
    (program_cache.DIRECTORY / "new").write_text("half")

    program_cache.compiled(SOURCE)

    assert {"lock", the_file().name} == {path.name for path in program_cache.DIRECTORY.iterdir()}


def test_the_last_used_programs_are_kept(bcc):
    """One more than there is room for drives out the one that nobody has asked for longest."""
    sources = [replace(SOURCE, text=str(number)) for number in range(program_cache.KEPT)]
    for source in sources:
        program_cache.compiled(source)
    program_cache.compiled(sources[0])
    program_cache.compiled(SOURCE)
    assert program_cache.KEPT == len(list(program_cache.DIRECTORY.glob("*.json")))
    asked = bcc.asked

    program_cache.compiled(sources[0])
    assert asked == bcc.asked
    program_cache.compiled(sources[1])
    assert asked + 1 == bcc.asked


def test_one_compiles_and_the_others_wait(bcc, monkeypatch):
    """Four at once get what the first one made."""

    def slowly(source):
        time.sleep(0.2)
        return bcc.compile(source)

    monkeypatch.setattr(compiler, "compile", slowly)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(program_cache.compiled, [SOURCE] * 4))

    assert 1 == bcc.asked
    assert [made[0]] * 4 == made


def test_a_compiled_program_survives_its_file():
    """What is decoded equals what was encoded."""
    made = Compiled({"a": bytes(range(256)), "b": b""}, (TABLE,), "bcc 1")

    assert made == Compiled.decode(made.encode())


def long_instruction(source, number, rest=0):
    """BPF_LD | BPF_DW | BPF_IMM: two halves."""
    first, second = (libbpf.Instruction(immediate=each) for each in (number, rest))
    first.code, first.source = libbpf.LOAD_IMMEDIATE_64, source
    return bytes(first) + bytes(second)


def test_only_names_of_tables_are_replaced():
    """Constants of 64 bits are none, nor are the second halves, whatever they hold."""
    constant = long_instruction(0, 3, libbpf.LOAD_IMMEDIATE_64)
    end = bytes.fromhex("9500000000000000")

    def program(*numbers):
        by_descriptor, by_value = numbers
        return (
            constant
            + long_instruction(libbpf.PSEUDO_MAP_FD, by_descriptor)
            + long_instruction(libbpf.PSEUDO_MAP_VALUE, by_value, 7)
            + end
        )

    assert program(103, 104) == rename_tables(program(3, 4), lambda i: i.immediate + 100)
