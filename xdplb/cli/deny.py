# SPDX-License-Identifier: MIT
"""deny."""

import click

from xdplb.cli.commands import Group
from xdplb.cli.options import director_of, json_option, print_json
from xdplb.director.readings import Readings
from xdplb.model.address import parse_prefix

prefixes_argument = click.argument("prefixes", metavar="PREFIX…", nargs=-1, required=True)


@click.group("deny", cls=Group)
def deny_command() -> None:
    """Deny clients by prefix: their packets to any VIP are dropped."""


@deny_command.command("add")
@prefixes_argument
@click.pass_obj
def _deny_add(instance: str, prefixes: tuple[str, ...]) -> None:
    """Add prefixes, such as 192.0.2.0/24 or 192.0.2.7, to those denied."""
    director_of(instance).deny([parse_prefix(text) for text in prefixes])


@deny_command.command("del")
@prefixes_argument
@click.pass_obj
def _deny_del(instance: str, prefixes: tuple[str, ...]) -> None:
    """Remove prefixes from those denied."""
    director_of(instance).allow([parse_prefix(text) for text in prefixes])


@deny_command.command("list")
@json_option
@click.pass_obj
def _deny_list(instance: str, as_json: bool) -> None:
    """List the denied prefixes."""
    prefixes = [str(prefix) for prefix in Readings(instance).denied()]
    if as_json:
        print_json(prefixes)
    elif prefixes:
        click.echo("\n".join(prefixes))
