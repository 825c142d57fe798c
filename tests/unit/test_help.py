# SPDX-License-Identifier: MIT
"""The command line's own help: of every command, to anybody, without a director."""

import sys
from collections.abc import Iterator

import click
import pytest

from xdplb.cli import main
from xdplb.cli.main import cli


def walk(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield each command and its subcommands, with the words to type."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below, *path, name)


COMMANDS = dict(walk(cli))


def words_of(command: click.Command) -> set[str]:
    """The words that its help must contain: subcommands, and all spellings of options."""
    words = {"--help"}
    if isinstance(command, click.Group):
        words |= set(command.list_commands(click.Context(command)))
    for param in command.params:
        if isinstance(param, click.Option):
            words |= {word for word in (*param.opts, *param.secondary_opts) if word.strip()}
    return words


@pytest.mark.parametrize("typed", COMMANDS)
def test_help_of_every_command(typed, monkeypatch, capsys):
    """The help shows how to type the command, and names each option and subcommand."""
    monkeypatch.setattr(sys, "argv", ["xdplb", *typed.split(), "--help"])

    main()

    usage, _, said = capsys.readouterr().out.partition("\n")
    assert usage.startswith("Usage: ")
    assert f"{typed} [OPTIONS]".strip() in usage
    assert set() == words_of(COMMANDS[typed]) - set(said.replace(",", " ").split())
