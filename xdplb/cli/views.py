# SPDX-License-Identifier: MIT
"""status, list, top: what the director does, as tables or JSON."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from xdplb.cli.commands import Command
from xdplb.cli.options import (
    json_option,
    number,
    optional_key,
    print_json,
    seconds,
    service_options,
)
from xdplb.director.readings import Readings
from xdplb.errors import UsageError
from xdplb.model.service import OPERATOR, ServiceKey

STATS = ("flows", "packets", "bytes")
SHOWN_VIPS = 8  # of status; --json has them all


def table(left: Sequence[str], right: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: left-aligned columns, then right-aligned ones.

    50,000 rows take 0.1 s; rich takes 20 s.
    """
    lines = [[*left, *right], *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    form = "   ".join(
        f"{{:{'<' if place < len(left) else '>'}{width}}}" for place, width in enumerate(widths)
    )
    texts = [form.format(*line).rstrip() for line in lines]
    texts.insert(1, "─" * (sum(widths) + 3 * (len(widths) - 1)))
    return "\n".join(texts) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _counters_table(counters: Mapping[str, float], title: str) -> str:
    """All that is not zero; what is lost, in red."""
    shown = {name: n for name, n in counters.items() if n or name == "forwarded"}
    head, rule, *lines = table(
        [title], ["packets"], ([name, _number(n)] for name, n in shown.items())
    ).splitlines()
    red = [click.style(line, fg="red") if line.startswith("drop_") else line for line in lines]
    return "\n".join([head, rule, *red]) + "\n"


@click.command("status", cls=Command)
@json_option
@click.pass_obj
def status_command(instance: str, as_json: bool) -> None:
    """Show what is attached, and what became of the packets."""
    status = Readings(instance).status()
    if as_json:
        print_json(status)
        return
    program, t = status["program"], status["timeouts"]
    interfaces = table(
        ["interface", "mode", "VIPs attach added"],
        [],
        (
            [name, about["mode"], " ".join(about["added_vips"]) or "-"]
            for name, about in status["interfaces"].items()
        ),
    )
    for finding in _findings(status):
        click.secho(f"{finding}", fg="red")
    click.echo(
        f"instance {status['instance']}: program {program['id']} at {program['path']}\n"
        f"services {status['services']}, reals {status['reals']}, "
        f"prefixes denied {status['denied']}, VIPs {_first(status['vips'])}\n"
        f"timeouts (s): tcp {t['tcp']}, tcpfin {t['tcpfin']}, udp {t['udp']}\n\n"
        f"{interfaces}\n"
        f"{_counters_table(status['counters'], 'what became of the packets')}",
        nl=False,
    )


def _findings(status: Mapping[str, Any]) -> Iterator[str]:
    """What is not as it should be, in words."""
    if status["unfinished"]:
        yield status["unfinished"]
    for name, about in status["interfaces"].items():
        if about["mode"] == "gone":
            yield f"the program does not run on {name}; run: xdplb attach {name}"
    for vip in status["missing_vips"]:
        yield f"VIP {vip} is on no interface; put it back: xdplb vip add {vip}"


def _first(vips: Sequence[str]) -> str:
    left = len(vips) - SHOWN_VIPS
    return " ".join([*vips[:SHOWN_VIPS], *([f"and {left} more"] if left > 0 else [])]) or "none"


@click.command("list", cls=Command)
@service_options
@click.option("--stats", is_flag=True, help="Add the counters.")
@click.option("--rate", is_flag=True, help="Count for one second, and add counts a second.")
@click.option("--flows", is_flag=True, help="Show the recorded flows, by real server and state.")
@json_option
@click.pass_obj
def list_command(
    instance: str,
    tcp: str | None,
    udp: str | None,
    stats: bool,
    rate: bool,
    flows: bool,
    as_json: bool,
) -> None:
    """List services and their real servers (ipvsadm -L)."""
    key = optional_key(tcp, udp)
    view = _view(stats=stats, rate=rate, flows=flows)
    director = Readings(instance)
    if view == "flows":
        listed = director.flows(key)
    elif view == "rate":
        listed = director.rates(1.0, key)
    else:
        listed = director.listing(key, stats=view == "stats")
    if as_json:
        print_json(listed)
    elif view == "flows":
        click.echo(_flows_table(listed), nl=False)
    else:
        click.echo(_services_table(listed, view), nl=False)


def _view(**given: bool) -> str | None:
    """The view of the options, if any. Raises: UsageError if there are several."""
    views = [name for name, wanted in given.items() if wanted]
    if len(views) > 1:
        raise UsageError(f"--{' and --'.join(views)} are different views", "give one of them")
    return views[0] if views else None


def _services_table(listed: list[dict[str, Any]], view: str | None) -> str:
    counts = [f"{name}/s" if view == "rate" else name for name in STATS] if view else []
    rows = []
    for entry in listed:
        traits = [entry["scheduler"], *entry["flags"], *(["ops"] if entry["one_packet"] else [])]
        traits += [f"{name} {entry[name]}/s" for name in ("limit", "source_limit") if entry[name]]
        traits += [f"of {entry['owner']}"] if entry["owner"] != OPERATOR else []
        traits += [f"source_cidr {entry['source_cidr']}"] if entry["source_cidr"] else []
        rows.append([entry["service"], " ".join(traits), "", *_counts(entry, view)])
        for real in entry["reals"]:
            weight = str(real["weight"] or "0 (drains)")
            if real["effective_weight"] != real["weight"]:
                weight = f"{real['effective_weight']} of {real['weight']}"
            name = f"  → {real['address']}"
            rows.append([name, f"  → {real['tunnel']}", weight, *_counts(real, view)])
    return table(["service → real", "scheduler → tunnel"], ["weight", *counts], rows)


def _counts(entry: Mapping[str, Any], view: str | None) -> list[str]:
    return [_number(entry["stats"][name]) for name in STATS] if view else []


def _flows_table(flows: list[dict[str, Any]]) -> str:
    rows = ([f["service"], f["real"], f["state"], _number(f["flows"])] for f in flows)
    return table(["service", "real", "state"], ["flows"], rows)


@click.command("top", cls=Command)
@service_options
@click.option(
    "-n",
    "--interval",
    type=seconds(0.1, 3600.0),
    default="1.0",
    metavar="SECONDS",
    show_default=True,
    help="Seconds between updates, 0.1 to 3600.",
)
@click.option("--count", type=number(1, 10**9), metavar="N", help="End after so many updates.")
@json_option
@click.pass_obj
def top_command(
    instance: str,
    tcp: str | None,
    udp: str | None,
    interval: float,
    count: int | None,
    as_json: bool,
) -> None:
    """Watch packets a second, by service, real server and fate.

    Ctrl-C ends it. With --json, each update is one line, and there is one unless --count says more.
    """
    key = optional_key(tcp, udp)
    director = Readings(instance)
    if as_json:
        for _ in range(count or 1):
            services, counters = director.rates_and_counters(interval, key)
            print_json({"services": services, "counters": counters}, lines=True)
        return
    _watch(director, key, interval, count)


def _watch(director: Readings, key: ServiceKey | None, interval: float, count: int | None) -> None:
    texts = _updates(director, key, interval, count)
    if not sys.stdout.isatty():  # nothing to paint over, and no width to keep to
        for text in texts:
            click.echo(text)
        return
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, screen=True) as live:
        for text in texts:
            live.update(Text.from_ansi(text, no_wrap=True), refresh=True)


def _updates(
    director: Readings, key: ServiceKey | None, interval: float, count: int | None
) -> Iterator[str]:
    shown = 0
    while count is None or shown < count:
        services, counters = director.rates_and_counters(interval, key)
        clock = time.strftime("%H:%M:%S")
        title = f"{director.instance.name} {clock}, a second"
        yield _counters_table(counters, title) + "\n" + _services_table(services, "rate")
        shown += 1
