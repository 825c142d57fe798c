# SPDX-License-Identifier: MIT
"""deny."""

import click

from xdplb.cli.options import json_option, print_json
from xdplb.director.director import Director
from xdplb.director.readings import Readings
from xdplb.model.address import parse_prefix

prefixes_argument = click.argument("prefixes", metavar="PREFIX…", nargs=-1, required=True)


@click.group("deny")
def deny_command() -> None:
    """Deny sources, by prefix, all VIPs: what comes from them is dropped."""


@deny_command.command("add")
@prefixes_argument
@click.pass_obj
def _deny_add(instance: str, prefixes: tuple[str, ...]) -> None:
    """Deny prefixes, as 192.0.2.0/24 or 192.0.2.7."""
    Director(instance).deny([parse_prefix(text) for text in prefixes])


@deny_command.command("del")
@prefixes_argument
@click.pass_obj
def _deny_del(instance: str, prefixes: tuple[str, ...]) -> None:
    """Deny prefixes no longer."""
    Director(instance).allow([parse_prefix(text) for text in prefixes])


@deny_command.command("list")
@json_option
@click.pass_obj
def _deny_list(instance: str, as_json: bool) -> None:
    """List what is denied."""
    prefixes = [str(prefix) for prefix in Readings(instance).denied()]
    if as_json:
        print_json(prefixes)
    elif prefixes:
        click.echo("\n".join(prefixes))
