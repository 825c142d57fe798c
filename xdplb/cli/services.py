# SPDX-License-Identifier: MIT
"""service, server, zero, flush."""

from typing import Any

import click

from xdplb.cli.commands import Command, Group
from xdplb.cli.options import (
    Options,
    director_of,
    number,
    optional_key,
    real_address,
    service_key,
    service_options,
    tell_notes,
)
from xdplb.errors import UsageError
from xdplb.model.address import parse_port
from xdplb.model.outer_source import parse_source
from xdplb.model.schedulers import SCHEDULERS
from xdplb.model.service import MAX_LIMIT, MAX_WEIGHT, Service, parse_weight
from xdplb.model.tunnel import GUE_PORT, IPIP, TUNNEL_KINDS, Tunnel

scheduler_option = click.option(
    "-s", "--scheduler", metavar="NAME", help=f"One of {', '.join(SCHEDULERS)}.  [default: mh]"
)
flags_option = click.option(
    "-b",
    "--sched-flags",
    metavar="FLAG,…",
    help="The scheduler's flags: mh-port, mh-fallback, sh-port, sh-fallback. '' means none.",
)
one_packet_option = click.option(
    "-o/ ",
    "--ops/--no-ops",
    "one_packet",
    default=None,
    help="Choose a real server for each UDP packet, whatever its flow.",
)
limit_option = click.option(
    "--limit",
    type=number(0, MAX_LIMIT),
    metavar="N",
    help="New flows a second, of all clients. 0 means no limit.  [default: 0]",
)
source_limit_option = click.option(
    "--source-limit",
    type=number(0, MAX_LIMIT),
    metavar="N",
    help="New flows a second, of each client address. 0 means no limit.  [default: 0]",
)
source_cidr_option = click.option(
    "--source-cidr",
    metavar="PREFIX",
    help="Take the outer source of each flow from this prefix. '' means the DIP.  [default: '']",
)
real_option = click.option(
    "-r", "--real-server", "real", required=True, metavar="RIP", help="The real server's address."
)
ipip_option = click.option(
    "-i", "--ipip", is_flag=True, help="Nothing: xdplb always tunnels. Scripts for ipvsadm have it."
)


def tunnel_options(command: Options) -> Options:
    """The options for a real's tunnel, with ipvsadm's names."""
    for option in (
        ipip_option,
        click.option(
            "--tun-csum/--tun-nocsum",
            "checksum",
            default=None,
            help="Have GRE or GUE carry a checksum.  [default: no checksum]",
        ),
        click.option("--tun-port", metavar="PORT", help=f"GUE's UDP port.  [default: {GUE_PORT}]"),
        click.option(
            "--tun-type",
            "kind",
            type=click.Choice(TUNNEL_KINDS),
            help="How packets to this real server are wrapped.  [default: ipip]",
        ),
    ):
        command = option(command)
    return command


def _tunnel(kind: str | None, port: str | None, checksum: bool | None) -> Tunnel | None:
    """The tunnel of these options; None if none is given. Raises: UsageError."""
    if kind is None and port is None and checksum is None:
        return None
    number = None if port is None else parse_port(port, "tunnel port")
    return Tunnel.of(kind or IPIP.kind, number, bool(checksum))


def _flags(text: str | None) -> frozenset[str]:
    """Raises: UsageError for a flag that is given twice."""
    flags = text.split(",") if text else []
    if all(flags) and len(set(flags)) < len(flags):
        raise UsageError(f"-b '{text}' gives a flag twice", "give it once")
    return frozenset(flags)


@click.group("service", cls=Group)
def service_command() -> None:
    """Add, change or remove a virtual service."""


@service_command.command("add")
@service_options
@scheduler_option
@flags_option
@one_packet_option
@limit_option
@source_limit_option
@source_cidr_option
@click.pass_obj
def _service_add(
    instance: str,
    tcp: str | None,
    udp: str | None,
    scheduler: str | None,
    sched_flags: str | None,
    one_packet: bool | None,
    limit: int | None,
    source_limit: int | None,
    source_cidr: str | None,
) -> None:
    """Add a service (ipvsadm -A)."""
    key = service_key(tcp, udp)
    director = director_of(instance)
    director.add_service(
        Service(
            key,
            Service.scheduler if scheduler is None else scheduler,
            _flags(sched_flags),
            bool(one_packet),
            limit=limit or 0,
            source_limit=source_limit or 0,
            source_cidr=parse_source(source_cidr or ""),
        )
    )
    tell_notes(director)


@service_command.command("edit")
@service_options
@scheduler_option
@flags_option
@one_packet_option
@limit_option
@source_limit_option
@source_cidr_option
@click.pass_obj
def _service_edit(
    instance: str,
    tcp: str | None,
    udp: str | None,
    scheduler: str | None,
    sched_flags: str | None,
    one_packet: bool | None,
    limit: int | None,
    source_limit: int | None,
    source_cidr: str | None,
) -> None:
    """Change a service (ipvsadm -E).

    What is not given stays as it is. But -s without -b removes the flags.
    """
    key = service_key(tcp, udp)
    changes: dict[str, Any] = {}
    if scheduler is not None:
        changes["scheduler"] = scheduler
    if scheduler is not None or sched_flags is not None:
        changes["flags"] = _flags(sched_flags)
    given = {"one_packet": one_packet, "limit": limit, "source_limit": source_limit}
    changes |= {name: value for name, value in given.items() if value is not None}
    if source_cidr is not None:
        changes["source_cidr"] = parse_source(source_cidr)
    if not changes:
        raise UsageError(
            f"nothing is said to change of {key}",
            "give -s, -b, -o, --limit, --source-limit or --source-cidr",
        )
    director = director_of(instance)
    director.edit_service(key, **changes)
    tell_notes(director)


@service_command.command("del")
@service_options
@click.pass_obj
def _service_del(instance: str, tcp: str | None, udp: str | None) -> None:
    """Remove a service and its reals (ipvsadm -D)."""
    director_of(instance).remove_service(service_key(tcp, udp))


@click.group("server", cls=Group)
def server_command() -> None:
    """Add, change, drain or remove a real server of a service."""


@server_command.command("add")
@service_options
@real_option
@click.option(
    "-w", "--weight", default="1", metavar="N", show_default=True, help=f"0 … {MAX_WEIGHT}."
)
@tunnel_options
@click.pass_obj
def _server_add(
    instance: str,
    tcp: str | None,
    udp: str | None,
    real: str,
    weight: str,
    kind: str | None,
    tun_port: str | None,
    checksum: bool | None,
    ipip: bool,
) -> None:
    """Add a real server (ipvsadm -a)."""
    key = service_key(tcp, udp)
    tunnel = _tunnel(kind, tun_port, checksum) or IPIP
    director = director_of(instance)
    director.add_real(key, real_address(real, key), parse_weight(weight), tunnel)
    tell_notes(director)


@server_command.command("edit")
@service_options
@real_option
@click.option("-w", "--weight", metavar="N", help=f"0 … {MAX_WEIGHT}. 0 drains.")
@tunnel_options
@click.pass_obj
def _server_edit(
    instance: str,
    tcp: str | None,
    udp: str | None,
    real: str,
    weight: str | None,
    kind: str | None,
    tun_port: str | None,
    checksum: bool | None,
    ipip: bool,
) -> None:
    """Change a real server's weight or tunnel (ipvsadm -e).

    What is not given stays as it is.
    """
    key = service_key(tcp, udp)
    tunnel = _tunnel(kind, tun_port, checksum)
    if weight is None and tunnel is None:
        raise UsageError(f"nothing is said to change of {real}", "give -w or --tun-type")
    number = None if weight is None else parse_weight(weight)
    director = director_of(instance)
    director.edit_real(key, real_address(real, key), number, tunnel)
    tell_notes(director)


@server_command.command("drain")
@service_options
@real_option
@click.pass_obj
def _server_drain(instance: str, tcp: str | None, udp: str | None, real: str) -> None:
    """Drain a real server: it keeps its flows and gets no new ones (weight 0)."""
    key = service_key(tcp, udp)
    director = director_of(instance)
    director.edit_real(key, real_address(real, key), 0)
    tell_notes(director)


@server_command.command("del")
@service_options
@real_option
@click.pass_obj
def _server_del(instance: str, tcp: str | None, udp: str | None, real: str) -> None:
    """Remove a real server (ipvsadm -d).

    The flows that it still has break. Drain it first.
    """
    key = service_key(tcp, udp)
    director = director_of(instance)
    director.remove_real(key, real_address(real, key))
    tell_notes(director)


@click.command("zero", cls=Command)
@service_options
@click.pass_obj
def zero_command(instance: str, tcp: str | None, udp: str | None) -> None:
    """Set the counters of one service, or of all, to zero (ipvsadm -Z)."""
    director_of(instance).zero(optional_key(tcp, udp))


@click.command("flush", cls=Command)
@click.pass_obj
def flush_command(instance: str) -> None:
    """Remove all services (ipvsadm -C)."""
    count = director_of(instance).flush()
    click.echo(f"{count} service{'' if count == 1 else 's'} removed")
