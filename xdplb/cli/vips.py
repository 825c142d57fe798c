# SPDX-License-Identifier: MIT
"""vip: the addresses that clients connect to."""

from dataclasses import asdict

import click

from xdplb.cli.commands import Group
from xdplb.cli.options import director_of, json_option, print_json
from xdplb.cli.views import table
from xdplb.director.readings import Readings
from xdplb.model.address import parse_address


@click.group("vip", cls=Group)
def vip_command() -> None:
    """Add, remove or list VIPs: addresses that clients connect to."""


@vip_command.command("add")
@click.argument("address")
@click.option("--dev", "device", metavar="INTERFACE", default="", help="Where it shall be.")
@click.option("--force", is_flag=True, help="Add it though another host answers for it.")
@click.pass_obj
def _vip_add(instance: str, address: str, device: str, force: bool) -> None:
    """Add a VIP to an interface and announce it.

    Without --dev it is the first attached interface. The VIP is not added if ARP or neighbour
    discovery finds another host that has it. An address that an interface has stays as it is.
    """
    vip = parse_address(address, "VIP")
    place = director_of(instance).add_vip(vip, device, force=force)
    click.echo(f"{place}: VIP {vip} added and announced")


@vip_command.command("del")
@click.argument("address")
@click.pass_obj
def _vip_del(instance: str, address: str) -> None:
    """Remove a VIP, and its address if xdplb has added that. Its services stay."""
    vip = parse_address(address, "VIP")
    services = director_of(instance).remove_vip(vip)
    if services:
        click.echo(
            f"note: {vip} still has {services} service{'' if services == 1 else 's'}: packets that "
            "routers send here are forwarded",
            err=True,
        )


@vip_command.command("list")
@json_option
@click.pass_obj
def _vip_list(instance: str, as_json: bool) -> None:
    """List the VIPs, and which interface has each."""
    vips = Readings(instance).vips()
    if as_json:
        print_json([{**asdict(vip), "address": str(vip.address)} for vip in vips])
        return
    rows = []
    for vip in vips:
        origin = "xdplb" if vip.added else ("others" if vip.device else "-")
        missing = "missing" if vip.wanted else "none: routed here"
        rows.append([str(vip.address), vip.device or missing, origin, str(vip.services)])
    click.echo(table(["VIP", "interface", "added by"], ["services"], rows), nl=False)
