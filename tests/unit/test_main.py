# SPDX-License-Identifier: MIT
"""The process: exit codes, output that fails, messages of one line, what nobody foresaw."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from xdplb.cli import output
from xdplb.cli.commands import Command, Group
from xdplb.cli.main import cli, main

XDPLB = str(Path(sys.executable).with_name("xdplb"))
SCRIPT = [XDPLB, "realserver", "script"]  # prints 20 kB, to anybody


def run(*argv, script='"$@"', **options):
    """Run a command as a shell starts it."""
    command = ["bash", "-c", script, "bash", *argv]
    return subprocess.run(command, capture_output=True, text=True, **options)


def ended(monkeypatch, *argv):
    """Have main() run a command line in this process. Returns: its exit code."""
    monkeypatch.setattr(sys, "argv", ["xdplb", *argv])
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0


@pytest.fixture
def command(monkeypatch):
    """Put another function in the place of `xdplb lab`."""

    def replace(function):
        made = Command("lab", callback=function)
        monkeypatch.setattr("xdplb.cli.lab.lab_command", made)

    return replace


# Exit codes.


def test_the_code_that_a_command_ends_with_is_the_process_s(monkeypatch, command):
    """`realserver check` and others end so where something is wrong."""

    def wrong():
        raise click.exceptions.Exit(1)

    command(wrong)

    assert 1 == ended(monkeypatch, "lab")


def test_what_a_command_returns_is_no_code(monkeypatch, command):
    """A command that returns is done."""
    command(lambda: 7)

    assert 0 == ended(monkeypatch, "lab")


def test_interrupted(monkeypatch, capsys, command):
    """Ctrl-C says nothing."""

    def interrupt():
        raise KeyboardInterrupt

    command(interrupt)

    assert (130, ("", "")) == (ended(monkeypatch, "lab"), capsys.readouterr())


@pytest.mark.parametrize("argv", [("--help",), ("--version",), ("realserver", "script")])
def test_done(argv):
    """Something is printed, and the code is 0."""
    done = run(XDPLB, *argv)

    assert (0, "", True) == (done.returncode, done.stderr, bool(done.stdout))


# Output that fails.


@pytest.mark.parametrize("argv", [SCRIPT, [XDPLB, "--help"], [XDPLB, "--version"]], ids=" ".join)
@pytest.mark.parametrize(
    ("where", "why"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
def test_output_that_fails(argv, where, why):
    """One line, also when the interpreter ends."""
    done = run(*argv, script=f'"$@" {where}')

    assert (1, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    assert done.stderr.startswith(f"xdplb: standard output cannot be written: {why}; ")


def test_output_that_fails_at_the_end(monkeypatch, capsys, command):
    """What a command left in a buffer is written before the process ends, or it fails."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        command(lambda: print("?"))

        assert 1 == ended(monkeypatch, "lab")
        monkeypatch.undo()
    assert "xdplb: standard output cannot be written: No space" in capsys.readouterr().err


def test_a_reader_that_leaves():
    """`| head` is told nothing; the code is a shell's for SIGPIPE."""
    done = run(*SCRIPT, script='"$@" | true; exit ${PIPESTATUS[0]}')

    assert (141, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
def test_messages_that_fail(where):
    """The code is the same."""
    done = run(XDPLB, "frobnicate", script=f'"$@" {where}')

    assert (2, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(("encoding", "shown"), [("latin-1", "PREFIX?"), ("ascii", "PREFIX…")])
def test_a_locale_without_our_arrows(encoding, shown):
    """What cannot be printed becomes a question mark; ASCII is taken for UTF-8, as click does."""
    done = run(XDPLB, "deny", "add", "--help", env={"PYTHONIOENCODING": encoding})
    full = run(XDPLB, "-h", env={"PYTHONIOENCODING": encoding}, script='"$@" >/dev/full')

    assert (0, "", True) == (done.returncode, done.stderr, shown in done.stdout)
    assert (1, True) == (full.returncode, "standard output cannot be written" in full.stderr)


# Messages.


@pytest.mark.parametrize(
    ("argument", "shown"),
    [("li\nst", r"li\nst"), ("\x1b[31m", r"\x1b[31m"), ("\u202e", r"\u202e"), (b"\xff", r"\udcff")],
)
def test_control_characters_are_written_out(argument, shown):
    """A message is one line, whatever is in an argument."""
    done = run(XDPLB, "--instance", argument, "list")

    assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    assert f"instance '{shown}' is not a name" in done.stderr


def test_other_characters_stay():
    """Of any script."""
    assert "VIP ›é‹ → 東" == output.escape("VIP ›é‹ → 東")


def walk(command):
    """Give a command and all below it."""
    yield command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from walk(command.get_command(click.Context(command), name))


@pytest.mark.parametrize("each", list(walk(cli)), ids=lambda command: command.name)
def test_every_command_refuses_an_option_given_twice(each):
    """By the classes of commands.py, which each of them has."""
    assert isinstance(each, Command | Group), f"give it cls=Command or cls=Group: {each.name}"


# What nobody foresaw.


@pytest.fixture
def defect(command, monkeypatch, tmp_path):
    """A command that has a defect; and where its traceback is kept."""

    def broken():
        raise ZeroDivisionError("a\nb")

    command(broken)
    monkeypatch.setattr(sys.modules[main.__module__], "DEFECT", tmp_path / "defect.txt")
    return tmp_path / "defect.txt"


def test_a_defect_keeps_its_traceback(monkeypatch, capsys, defect):
    """One line says so, and where the traceback is; the next one replaces it."""
    codes = [ended(monkeypatch, "lab") for _ in range(2)]

    said = capsys.readouterr().err
    line = rf"xdplb: this is a defect of xdplb: ZeroDivisionError: a\nb; report it with {defect}"
    assert [1, 1] == codes
    assert [line] * 2 == [each.partition(", which")[0] for each in said.splitlines()]
    assert 1 == defect.read_text().count("Traceback (most recent call last)")


def test_a_defect_with_nowhere_to_keep_it(monkeypatch, capsys, defect):
    """It is said how to see the traceback."""
    monkeypatch.setattr(sys.modules[main.__module__], "DEFECT", defect / "absent")

    assert 1 == ended(monkeypatch, "lab")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; set XDPLB_VERBOSE=1 to see the traceback, and report it")


def test_a_defect_is_shown_if_asked(monkeypatch, capsys, defect):
    """XDPLB_VERBOSE=1 prints the traceback; nothing is kept."""
    monkeypatch.setenv("XDPLB_VERBOSE", "1")

    assert 1 == ended(monkeypatch, "lab")
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last)")
    assert "xdplb: this is a defect of xdplb: ZeroDivisionError" in said.splitlines()[-1]
    assert not defect.exists()
