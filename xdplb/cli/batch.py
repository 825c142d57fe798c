# SPDX-License-Identifier: MIT
"""batch: many command lines as one change."""

import contextlib
import io
import shlex
from collections.abc import Iterator

import click

from xdplb.cli import files, options
from xdplb.cli.commands import Command
from xdplb.director.director import Director
from xdplb.errors import FileError, XdplbError

MAX_LINE = 4096  # characters; splitting takes time by the square of them
# The commands that change services, reals, VIPs, prefixes and timeouts.
ALLOWED = ("service", "server", "vip", "deny", "set", "zero", "flush")


@click.command("batch", cls=Command)
@click.argument("file")
@click.option(
    "--each", is_flag=True, help="Make each line a change of its own, and go on after a failure."
)
@click.pass_obj
def batch_command(instance: str, file: str, each: bool) -> None:
    """Run the command lines of FILE as one change: all of them or none.

    A line is an xdplb command without "xdplb", such as `server add -t 192.0.2.1:80 -r 192.0.2.7`.
    Empty lines and lines that begin with # are skipped. `-` reads standard input.
    """
    director, failed, printed = Director(instance), 0, io.StringIO()
    lines = list(_lines(files.read_text(file, "command lines")))
    with (
        contextlib.nullcontext() if each else director.batch(),
        options.shared(director),
        contextlib.redirect_stdout(printed),  # a reader that waits must not hold the lock
    ):
        for number, words in lines:
            try:
                _run(instance, words)
            except (XdplbError, click.ClickException) as error:
                told = _failure(number, words, error)
                if not each:
                    raise told from error
                failed += 1
                click.echo(f"xdplb: {told}", err=True)
    click.echo(printed.getvalue(), nl=False)
    for note in dict.fromkeys(director.notes):
        click.echo(f"note: {note}", err=True)
    if failed:
        raise XdplbError(f"{failed} of {len(lines)} lines failed", "the others are done")


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_LINE:
            raise FileError(
                f"line {number} has {len(line)} characters", f"give at most {MAX_LINE} in a line"
            )
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise FileError(f"line {number} '{line}': {error}", "close the quotation") from error
        if words:
            yield number, words[1:] if words[0] == "xdplb" else words


def _run(instance: str, words: list[str]) -> None:
    from xdplb.cli.main import cli

    if not words or words[0] not in ALLOWED:
        raise FileError(
            f"a batch has no command '{' '.join(words[:1])}'", f"choose from {', '.join(ALLOWED)}"
        )
    with cli.make_context("xdplb", ["--instance", instance, *words]) as ctx:
        cli.invoke(ctx)


def _failure(number: int, words: list[str], error: Exception) -> FileError:
    where = f"line {number} '{shlex.join(words)}'"
    if isinstance(error, XdplbError):
        return FileError(f"{where}: {error.what}", error.mend)
    assert isinstance(error, click.ClickException)
    return FileError(f"{where}: {' '.join(error.format_message().split()).rstrip('.')}")
