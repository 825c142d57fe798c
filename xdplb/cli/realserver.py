# SPDX-License-Identifier: MIT
"""realserver: the other end of the tunnel."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import click

from xdplb.cli.commands import Group
from xdplb.cli.options import json_option, print_json
from xdplb.errors import UsageError
from xdplb.model.address import Address, parse_address, parse_senders
from xdplb.realserver import host, script, setup

Command = TypeVar("Command", bound=Callable[..., Any])


def host_options(command: Command) -> Command:
    """Which host, which VIPs."""
    for option in (
        click.option(
            "--ssh", metavar="HOST", help="On a remote host, which needs nothing of ours."
        ),
        click.option("--netns", metavar="NAME", help="In a network namespace of this host."),
        click.option("--vip", "vips", multiple=True, metavar="ADDRESS", help="A VIP; repeat."),
    ):
        command = option(command)
    return command


director_option = click.option(
    "--director",
    "directors",
    multiple=True,
    metavar="DIP",
    help="Accept tunnels from this address, or prefix of outer sources, only; repeat.",
)
device_option = click.option(
    "--dev",
    "devices",
    multiple=True,
    metavar="INTERFACE",
    help="Where tunnels come in, if neither a director nor the default route tells; repeat.",
)
decap_option = click.option(
    "--decap",
    type=click.Choice([kind.value for kind in setup.Decap]),
    default="auto",
    show_default=True,
    help="Who unwraps: the kernel (ipip: tunl0 and its kin), our XDP program, or what there is.",
)


def _addresses(texts: Sequence[str], what: str) -> list[Address]:
    return [parse_address(text, what) for text in texts]


def _report(facts: Sequence[script.Fact], as_json: bool) -> None:
    if as_json:
        print_json([asdict(fact) for fact in facts])
    else:
        for fact in facts:
            mark = "ok   " if fact.ok else "WRONG"
            mend = "" if fact.ok else f" (wanted: {fact.wanted}; {fact.mend})"
            click.echo(f"{mark} {fact.name}: {fact.found}{mend}")
    if not all(fact.ok for fact in facts):
        raise click.exceptions.Exit(1)


@click.group("realserver", cls=Group)
def realserver_command() -> None:
    """Set up, check or take down a real server: tunnels, the VIP, sysctls, MSS, firewall."""


@realserver_command.command("setup")
@host_options
@director_option
@device_option
@decap_option
@click.option("--persist", is_flag=True, help="Survive a reboot.")
@json_option
def _setup(
    vips: tuple[str, ...],
    netns: str | None,
    ssh: str | None,
    directors: tuple[str, ...],
    devices: tuple[str, ...],
    decap: str,
    persist: bool,
    as_json: bool,
) -> None:
    """Make this host answer for the VIPs. Repeating it changes nothing."""
    if not vips:
        raise UsageError("no VIP is named", "give --vip ADDRESS")
    facts = setup.setup(
        host.Host(netns, ssh),
        _addresses(vips, "VIP"),
        [parse_senders(text, "director") for text in directors],
        devices=devices,
        decap=setup.Decap(decap),
        persist=persist,
    )
    _report(facts, as_json)


@realserver_command.command("check")
@host_options
@director_option
@device_option
@decap_option
@json_option
def _check(
    vips: tuple[str, ...],
    netns: str | None,
    ssh: str | None,
    directors: tuple[str, ...],
    devices: tuple[str, ...],
    decap: str,
    as_json: bool,
) -> None:
    """Check all that has to hold; exit code 1 if something is wrong. Changes nothing."""
    facts = setup.check(
        host.Host(netns, ssh),
        _addresses(vips, "VIP"),
        [parse_senders(text, "director") for text in directors],
        devices=devices,
        decap=setup.Decap(decap),
    )
    _report(facts, as_json)


@realserver_command.command("teardown")
@host_options
def _teardown(vips: tuple[str, ...], netns: str | None, ssh: str | None) -> None:
    """Take back the VIPs (none given: all) and restore the values that setup found."""
    setup.teardown(host.Host(netns, ssh), _addresses(vips, "VIP"))


@realserver_command.command("script")
def _script() -> None:
    """Print the POSIX shell script that the others run."""
    click.echo(script.script(), nl=False)
