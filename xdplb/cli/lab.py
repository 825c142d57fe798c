# SPDX-License-Identifier: MIT
"""lab: the five hosts of the reference case, to play with."""

from dataclasses import asdict

import click

from xdplb import lab
from xdplb.cli.commands import Group
from xdplb.cli.options import json_option, print_json

name_option = click.option(
    "--name", default=lab.DEFAULT_NAME, show_default=True, help="Which lab; each is apart."
)


@click.group("lab", cls=Group)
def lab_command() -> None:
    """Five hosts on this machine: client, route, lvs, rs1, rs2, as network namespaces."""


@lab_command.command("up")
@name_option
def _up(name: str) -> None:
    """Build the hosts and start a web server on rs1 and rs2."""
    lab.up(name)
    lab.start_web(name)
    click.echo(f"lab '{name}' is up; try: xdplb lab exec lvs xdplb attach ens33 --vip {lab.VIP}")


@lab_command.command("status")
@name_option
@json_option
def _status(name: str, as_json: bool) -> None:
    """List the hosts."""
    hosts = [asdict(host) for host in lab.status(name)]
    if as_json:
        print_json(hosts)
        return
    if not any(host["exists"] for host in hosts):
        click.echo(f"lab '{name}' is down; xdplb lab up builds it")
        return
    for host in hosts:
        web = f"  nginx {host['web_pid']}" if host["web_pid"] else ""
        click.echo(f"{host['name']:8}{', '.join(host['addresses'])}{web}")


@lab_command.command("exec", context_settings={"allow_interspersed_args": False})
@name_option
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def _exec(name: str, host: str, command: tuple[str, ...]) -> None:
    """Run COMMAND on HOST."""
    lab.exec_(name, host, list(command))


@lab_command.command("down")
@name_option
def _down(name: str) -> None:
    """Remove the hosts and all that runs on them."""
    lab.down(name)
