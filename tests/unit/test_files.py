# SPDX-License-Identifier: MIT
"""Files of the operator: replaced whole or not at all."""

import os
import resource
import signal
import stat
import subprocess
import sys

import pytest

from xdplb.cli import files
from xdplb.errors import FileError, UsageError

OLD, NEW = "old\n", "new → text\n"


@pytest.fixture
def file(tmp_path):
    """A file with a text."""
    path = tmp_path / "lb.toml"
    path.write_text(OLD)
    return path


def names(path):
    """What lies beside a file."""
    return sorted(each.name for each in path.parent.iterdir())


def mode(path):
    """The permissions."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o444])
def test_a_file_is_replaced_and_keeps_its_mode(file, bits):
    """It is another file of the same name and mode."""
    file.chmod(bits)
    before = file.stat().st_ino

    files.write_text(str(file), NEW)

    assert (NEW.encode(), bits, ["lb.toml"]) == (file.read_bytes(), mode(file), names(file))
    assert before != file.stat().st_ino


@pytest.mark.parametrize(("mask", "bits"), [(0o022, 0o644), (0o077, 0o600), (0, 0o644)])
def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path, mask, bits):
    """As any other command makes it."""
    before = os.umask(mask)
    try:
        files.write_text(str(tmp_path / "new.toml"), NEW)
    finally:
        os.umask(before)

    assert bits == mode(tmp_path / "new.toml")


def test_a_link_stays_and_its_target_is_replaced(file):
    """Also through several, and to what is not there yet."""
    for name, target in (("a", "lb.toml"), ("b", "a"), ("dangling", "later")):
        file.with_name(name).symlink_to(target)

    files.write_text(str(file.with_name("b")), NEW)
    files.write_text(str(file.with_name("dangling")), NEW)

    assert (NEW, NEW) == (file.read_text(), file.with_name("later").read_text())
    assert ["a", "b", "dangling", "later", "lb.toml"] == names(file)
    assert file.with_name("b").is_symlink() and file.with_name("dangling").is_symlink()


def test_killed_on_the_way(file):
    """Whoever kills us before the end leaves the old text."""
    code = (
        "import os, signal, sys; from xdplb.cli import files; "
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL); "
        "files.write_text(sys.argv[1], 'new')"
    )

    done = subprocess.run([sys.executable, "-c", code, str(file)])

    assert (-signal.SIGKILL, OLD) == (done.returncode, file.read_text())


def test_no_room(file):
    """The old text stays, and nothing lies beside it."""
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(FileError, match=r"lb\.toml cannot be written: File too large; name a"):
            files.write_text(str(file), NEW * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)

    assert (OLD, ["lb.toml"]) == (file.read_text(), names(file))


def test_a_pipe_is_written_to(tmp_path):
    """What is no regular file is not replaced."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        files.write_text(str(pipe), NEW)
        assert NEW == reader.communicate()[0]

    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_by_its_name(file, name):
    """Of a shell's `>>`, what was there stays before it."""
    code = f"from xdplb.cli import files; files.write_text({name!r}, {NEW!r})"
    with file.open("a") as stdout:
        subprocess.run([sys.executable, "-c", code], stdout=stdout, check=True)

    assert OLD + NEW == file.read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".", r"\. cannot be written: Is a directory; name a file, not"),
        ("new/", "new/ cannot be written: Is a directory"),
        ("absent/new", "absent/new cannot be written: No such file or directory; make its dir"),
        ("loop", "loop cannot be written: Too many levels of symbolic links"),
        ("/dev/full", "/dev/full cannot be written: No space left on device; make room"),
    ],
)
def test_what_cannot_be_written(tmp_path, monkeypatch, name, message):
    """It is named, with the reason and the mend."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(FileError, match=f"^{message}"):
        files.write_text(name, NEW)

    assert ["loop"] == names(tmp_path / "loop")


@pytest.mark.parametrize("function", [files.read_text, lambda name: files.write_text(name, NEW)])
def test_no_name(function):
    """An empty argument is a mistake in the command line."""
    with pytest.raises(UsageError, match="'' is no file's name; give FILE, or - for"):
        function("")


def test_text_is_utf_8_in_any_locale(file):
    """TOML is."""
    file.write_bytes(NEW.encode())
    code = f"from xdplb.cli import files; print(ascii(files.read_text({str(file)!r})))"
    environment = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}

    read = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)

    assert ascii(NEW) == read.strip()
