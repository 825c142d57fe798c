# SPDX-License-Identifier: MIT
"""attach, detach."""

from dataclasses import fields

import click

from xdplb.cli.commands import Command
from xdplb.errors import UsageError
from xdplb.model.address import parse_address
from xdplb.model.tunables import Tunables

MODE_MEANING = {
    "native": "in the driver, before the kernel makes an skb: fast",
    "generic": "after the kernel made an skb: correct, but slow",
}


def _sizes(settings: tuple[str, ...]) -> dict[str, int]:
    """What --tune says."""
    names = [field.name for field in fields(Tunables)]
    sizes = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        number = value.isascii() and value.isdigit() and len(value) < 10
        if name not in names or not number:
            raise UsageError(
                f"--tune '{setting}' is not NAME=NUMBER", f"the names are {', '.join(names)}"
            )
        if name in sizes:
            raise UsageError(f"--tune {name} is given twice", "give it once")
        sizes[name] = int(value)
    return sizes


@click.command("attach", cls=Command)
@click.argument("ifnames", metavar="INTERFACE…", nargs=-1, required=True)
@click.option("--vip", "vips", multiple=True, metavar="ADDRESS", help="A VIP. May be repeated.")
@click.option(
    "--mode",
    type=click.Choice(["auto", "native", "generic"]),
    default="auto",
    show_default=True,
    help="Where XDP runs: in the driver (native), or in the kernel's generic hook.",
)
@click.option(
    "--tune",
    multiple=True,
    metavar="NAME=NUMBER",
    help="The size of a table. May be repeated. The names and defaults are "
    + ", ".join(f"{field.name} ({field.default})" for field in fields(Tunables))
    + ".",
)
@click.pass_context
def attach_command(
    ctx: click.Context, ifnames: tuple[str, ...], vips: tuple[str, ...], mode: str, tune: tuple[str]
) -> None:
    """Load the director and attach it to one or more interfaces.

    A VIP that no interface has is added to the first INTERFACE and announced.

    Run it again to upgrade the program in place. No packet is lost. Recorded flows are lost only
    if a table's size changes.
    """
    from xdplb.director.attach import attach
    from xdplb.director.instance import Instance

    addresses = [parse_address(vip, "VIP") for vip in vips]
    done = attach(Instance(ctx.obj), ifnames, addresses, mode, _sizes(tune))
    for name, reached in done.modes.items():
        verb = "upgraded in place" if name in done.upgraded else "attached"
        why = "; the driver has no native XDP" if (mode, reached) == ("auto", "generic") else ""
        click.echo(f"{name}: {verb}, {reached} mode ({MODE_MEANING[reached]}{why})")
    for vip in done.added_vips:
        click.echo(f"{ifnames[0]}: VIP {vip} added and announced")
    if not done.flows_kept:
        click.echo("the tables' layout changed: recorded flows are lost, services are kept")
    for note in done.notes:
        click.echo(f"note: {note}", err=True)


@click.command("detach", cls=Command)
@click.argument("ifname", metavar="INTERFACE")
@click.pass_context
def detach_command(ctx: click.Context, ifname: str) -> None:
    """Take the director off an interface, and undo what attach did there."""
    from xdplb.director.detach import detach
    from xdplb.director.instance import Instance

    last = detach(Instance(ctx.obj), ifname)
    click.echo(f"{ifname}: detached")
    if last:
        click.echo(
            "it was the last interface: flows are forgotten; "
            "services and VIPs stay for the next attach"
        )
