# SPDX-License-Identifier: MIT
"""status, list, top: what the director does, as tables or JSON."""

import time
from collections.abc import Mapping
from typing import Any

import click
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from xdplb.cli.options import json_option, optional_key, print_json, service_options
from xdplb.controller.director import Director
from xdplb.errors import UsageError
from xdplb.model import ServiceKey

# Whole words: a table that is piped into a file is not cut to some terminal's width.
WIDTH = 120

STATS = ("flows", "packets", "bytes")


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def _table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in (*columns, *numbers):
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _counters_table(counters: Mapping[str, float], title: str) -> Table:
    table = _table(title, numbers=("packets",))
    for name, value in counters.items():
        if value or name == "forwarded":
            style = "red" if name.startswith("drop_") else ""
            table.add_row(name, _number(value), style=style)
    return table


@click.command("status")
@json_option
@click.pass_obj
def status_command(instance: str, as_json: bool) -> None:
    """Show what is attached where, and what became of every packet."""
    status = Director(instance).status()
    if as_json:
        print_json(status)
        return
    console = _console()
    interfaces = _table("interface", "mode", "VIPs attach added")
    for name, about in status["interfaces"].items():
        interfaces.add_row(name, about["mode"], " ".join(about["added_vips"]) or "-")
    program = status["program"]
    t = status["timeouts"]
    console.print(f"instance {instance}: program {program['id']} at {program['path']}")
    console.print(
        f"{status['services']} services, {status['reals']} reals, "
        f"VIPs {' '.join(status['vips']) or 'none'}"
    )
    console.print(f"timeouts (s): tcp {t['tcp']}, tcpfin {t['tcpfin']}, udp {t['udp']}")
    console.print(interfaces)
    console.print(_counters_table(status["counters"], "what became of the packets"))


@click.command("list")
@service_options
@click.option("--stats", "view", flag_value="stats", help="With counters since they were zeroed.")
@click.option("--rate", "view", flag_value="rate", help="With counts a second, over one second.")
@click.option("--flows", "view", flag_value="flows", help="Recorded flows by real and state.")
@json_option
@click.pass_obj
def list_command(
    instance: str, tcp: str | None, udp: str | None, view: str | None, as_json: bool
) -> None:
    """List services and their reals (ipvsadm -L)."""
    key = optional_key(tcp, udp)
    director = Director(instance)
    if view == "flows":
        _list_flows(director, key, as_json)
        return
    listed = director.rates(1.0) if view == "rate" else director.listing(stats=view == "stats")
    if key is not None:
        listed = [entry for entry in listed if entry["service"] == str(key)]
        if not listed:
            raise UsageError(f"service {key} does not exist", "see: xdplb list")
    if as_json:
        print_json(listed)
    else:
        _console().print(_services_table(listed, view))


def _services_table(listed: list[dict[str, Any]], view: str | None) -> Table:
    numbers = tuple(f"{name}/s" if view == "rate" else name for name in STATS) if view else ()
    table = _table("service", "scheduler", "real", numbers=("weight", *numbers))
    for entry in listed:
        flags = " ".join([*entry["flags"], *(["ops"] if entry["one_packet"] else [])])
        counts = [_number(entry["stats"][name]) for name in STATS] if view else []
        table.add_row(entry["service"], f"{entry['scheduler']} {flags}".rstrip(), "", "", *counts)
        for real in entry["reals"]:
            counts = [_number(real["stats"][name]) for name in STATS] if view else []
            weight = "0 (drains)" if real["weight"] == 0 else str(real["weight"])
            table.add_row("", "", real["address"], weight, *counts)
    return table


def _list_flows(director: Director, key: ServiceKey | None, as_json: bool) -> None:
    flows = [flow for flow in director.flows() if key is None or flow["service"] == str(key)]
    if as_json:
        print_json(flows)
        return
    table = _table("service", "real", "state", numbers=("flows",))
    for flow in flows:
        table.add_row(flow["service"], flow["real"], flow["state"], _number(flow["flows"]))
    _console().print(table)


@click.command("top")
@click.option("-n", "--interval", default=1.0, show_default=True, help="Seconds between updates.")
@click.option("--count", type=click.IntRange(min=1), help="Updates to show, then end.")
@json_option
@click.pass_obj
def top_command(instance: str, interval: float, count: int | None, as_json: bool) -> None:
    """Watch packets a second, by service, real and fate. Ctrl-C ends it."""
    director = Director(instance)
    if as_json:
        services, counters = director.rates_and_counters(interval)
        print_json({"services": services, "counters": counters})
        return
    console = _console()
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        shown = 0
        while count is None or shown < count:
            services, counters = director.rates_and_counters(interval)
            clock = time.strftime("%H:%M:%S")
            title = f"{instance} {clock}, a second"
            group = Group(_services_table(services, "rate"), _counters_table(counters, title))
            live.update(group, refresh=True)
            shown += 1
