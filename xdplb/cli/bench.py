# SPDX-License-Identifier: MIT
"""bench: load for a director, from your own hardware. It first prints what is sent where."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import click

from xdplb.cli.commands import Group
from xdplb.cli.options import json_option, print_json
from xdplb.cli.progress import progress
from xdplb.errors import UsageError
from xdplb.model.address import parse_address, parse_endpoint, parse_port
from xdplb.traffic import nexthop, pktgen, plot, wrk
from xdplb.traffic.machine_load import MachineLoad, Observed, packets_sent
from xdplb.traffic.sampler import Sampler

IMIX = "imix"
_DAY = 86_400  # seconds


class _Seconds(click.FloatRange):
    """A time in seconds; `nan` is in every range for click."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"'{value}' is not a number of seconds.", param, ctx)
        return seconds


plot_option = click.option(
    "--plot",
    "plot_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw what happened over time, as .png or .svg.",
)


@click.group("bench", cls=Group)
def bench_command() -> None:
    """Load a director with packets or requests; see what became of them, and of this machine.

    Only what is named is sent to. Counters of a director are those of --instance, if it is here.
    """


@bench_command.command("pktgen")
@click.argument("device", metavar="INTERFACE")
@click.option("--to", "to", metavar="VIP:PORT", required=True, help="The one destination, UDP.")
@click.option("--mac", help="Of the next hop. [the route's]")
@click.option("--sources", metavar="FIRST-LAST", help="Addresses to send from. [the interface's]")
@click.option(
    "--ports",
    metavar="FIRST-LAST",
    default="1024-65535",
    show_default=True,
    help="Source ports, drawn at random.",
)
@click.option("--size", metavar="BYTES|imix", default="64", show_default=True, help="With FCS.")
@click.option(
    "--queues",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="That send, each by a core of its own.",
)
@click.option(
    "--rate", type=click.IntRange(0, pktgen.FASTEST), default=0, help="Packets/s. [all it can]"
)
@click.option(
    "--seconds",
    type=_Seconds(0.1, _DAY),
    default=10.0,
    show_default=True,
    help="How long to send.",
)
@plot_option
@json_option
@click.pass_obj
def _pktgen(
    instance: str,
    device: str,
    to: str,
    mac: str | None,
    sources: str | None,
    ports: str,
    size: str,
    queues: int,
    rate: int,
    seconds: float,
    plot_file: Path | None,
    as_json: bool,
) -> None:
    """Send UDP by the kernel's pktgen, whose senders' addresses need not be this host's.

    Whoever is sent to answers those addresses: use a network that is yours.
    """
    address, port = parse_endpoint(to)
    if not isinstance(address, IPv4Address):
        raise UsageError(f"{address} is not IPv4", "pktgen is driven for IPv4 alone")
    plan = pktgen.Plan(
        device=device,
        destination=address,
        port=port,
        seconds=seconds,
        sources=_addresses(sources) if sources is not None else None,
        ports=_ports(ports),
        sizes=pktgen.IMIX if size == IMIX else ((_bytes(size), 1),),
        queues=queues,
        rate=rate,
    )
    given = None if mac is None else nexthop.check_mac(mac)
    if plot_file:
        plot.require(plot_file)
    nexthop.check(device, address)
    pktgen.require(plan)
    hop = nexthop.find(device, address, given)
    plan = replace(plan, mac=hop.mac)
    click.echo(_told(plan, hop), err=as_json)
    load = MachineLoad(instance)
    with (
        progress(seconds) as tell,
        Sampler(
            instance, seconds, lambda: pktgen.sent_so_far(plan), tell, keep=bool(plot_file)
        ) as sampler,
    ):
        sent = pktgen.run(plan)
    observed = load.lap()
    if as_json:
        print_json({"sent": [asdict(each) for each in sent], "observed": asdict(observed)})
    else:
        _echo_sent(sent)
        _echo_observed(observed)
    if plot_file:
        title = f"pktgen: UDP by {device} to {to}, frames of {_sizes(plan)}"
        plot.draw(plot_file, title, [plot.Run("pktgen", sampler)])
        click.echo(f"plot: {plot_file}", err=as_json)


def _echo_sent(sent: Sequence[pktgen.Sent]) -> None:
    for each in sent:
        click.echo(
            f"queue {each.queue}: {each.packets:,} packets in {each.seconds:.3f} s, "
            f"{each.packets / each.seconds:,.0f}/s, {each.errors:,} refused by the driver"
        )


def _sizes(plan: pktgen.Plan) -> str:
    if len(plan.sizes) == 1:
        return f"{plan.sizes[0][0]} B"
    return ", ".join(f"{size} B × {share}" for size, share in plan.sizes)


def _told(plan: pktgen.Plan, hop: nexthop.NextHop) -> str:
    sources = "{} … {}".format(*plan.sources) if plan.sources else "the interface's own address"
    return (
        f"pktgen: UDP to {plan.destination}:{plan.port} by {plan.device}, for {plan.seconds:g} s\n"
        f"  next hop  {hop.via or 'as given'}, MAC {plan.mac}\n"
        f"  from      {sources}, ports {plan.ports[0]} … {plan.ports[1]}, at random\n"
        f"  frames    {_sizes(plan)}, with FCS\n"
        f"  rate      {f'{plan.rate:,} packets/s' if plan.rate else 'all it can'}, "
        f"{plan.queues} queue{'s' * (plan.queues > 1)}"
    )


@bench_command.command("wrk")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Open at the same time.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Of wrk, which share them.",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, _DAY),
    default=10,
    show_default=True,
    help="How long to load each URL.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How often to take all URLs.",
)
@click.option("--short", is_flag=True, help="A connection for each request.")
@plot_option
@json_option
@click.pass_obj
def _wrk(
    instance: str,
    urls: tuple[str, ...],
    connections: int,
    threads: int,
    seconds: int,
    rounds: int,
    short: bool,
    plot_file: Path | None,
    as_json: bool,
) -> None:
    """Request URLs by wrk, one after the other: a VIP through each director, a real without any."""
    load = wrk.Load(connections, threads, seconds, short)
    for url in urls:
        wrk.check_url(url)
    if plot_file:
        plot.require(plot_file)
    kind = "each for one request" if short else "kept"
    click.echo(
        f"wrk: {connections} connections, {kind}, {threads} threads, {seconds} s each, to\n"
        + "".join(f"  {url}\n" for url in urls),
        err=as_json,
        nl=False,
    )
    results, runs = [], []
    for number, url in enumerate(urls * rounds, 1):
        name = f"{url}, {number} of {len(urls) * rounds}"
        before = MachineLoad(instance)
        with (
            progress(seconds, f"{name}: ") as tell,
            Sampler(instance, seconds, packets_sent, tell, keep=bool(plot_file)) as sampler,
        ):
            answered = wrk.run(url, load)
        observed = before.lap()
        results.append({**asdict(answered), "observed": asdict(observed)})
        runs.append(plot.Run(name, sampler))
        if not as_json:
            _echo_answered(answered)
            _echo_observed(observed)
    if as_json:
        print_json(results)
    if plot_file:
        title = f"wrk: {connections} connections, {kind}"
        plot.draw(plot_file, title, runs)
        click.echo(f"plot: {plot_file}", err=as_json)


def _echo_answered(answered: wrk.Answered) -> None:
    errors = ", ".join(f"{n} {name}" for name, n in answered.errors.items() if n) or "none"
    latency = ", ".join(f"{name} {us / 1000:.2f}" for name, us in answered.latency_us.items())
    click.echo(
        f"{answered.url}: {answered.rate:,.0f} requests/s, {answered.requests:,} in all\n"
        f"  latency, ms: {latency}\n  errors: {errors}"
    )


def _echo_observed(observed: Observed) -> None:
    cores = ", ".join(f"{core['busy']:.0f} ({core['softirq']:.0f})" for core in observed.cores)
    lines = [f"cores, % busy (softirq): {cores}"]
    for name, moved in observed.interfaces.items():
        lines.append(f"{name}: " + _counts(moved))
    if observed.director is not None:
        lines.append("director: " + (_counts(observed.director) or "no packet"))
    click.echo("".join(f"  {line}\n" for line in lines), nl=False)


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items() if n)


def _range(text: str, what: str) -> Sequence[str]:
    first, dash, last = text.partition("-")
    if not (first and (last or not dash)):
        raise UsageError(f"'{text}' are no {what}", "give FIRST-LAST, or one")
    return first, last or first


def _addresses(text: str) -> tuple[IPv4Address, IPv4Address]:
    first, last = (parse_address(each, "source") for each in _range(text, "sources"))
    if not (isinstance(first, IPv4Address) and isinstance(last, IPv4Address) and first <= last):
        raise UsageError(f"'{text}' is no range of IPv4 addresses", "write it as 10.0.0.1-10.0.0.9")
    return first, last


def _ports(text: str) -> tuple[int, int]:
    first, last = (parse_port(each) for each in _range(text, "ports"))
    if not 0 < first <= last:
        raise UsageError(f"'{text}' is no range of ports", "write it as 1024-65535")
    return first, last


def _bytes(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise UsageError(f"'{text}' is no size", "give bytes, or imix")
    return int(text)
