# SPDX-License-Identifier: MIT
"""service, server, zero, flush, set, apply, save."""

import sys
from pathlib import Path
from typing import Any

import click

from xdplb.cli.options import (
    Command,
    json_option,
    optional_key,
    print_json,
    real_address,
    service_key,
    service_options,
)
from xdplb.director.director import Director
from xdplb.director.readings import Readings
from xdplb.errors import UsageError
from xdplb.model import toml_file
from xdplb.model.address import parse_port
from xdplb.model.outer_source import parse_source
from xdplb.model.schedulers import SCHEDULERS
from xdplb.model.service import Service
from xdplb.model.tunnel import GUE_PORT, IPIP, TUNNEL_KINDS, Tunnel

scheduler_option = click.option(
    "-s", "--scheduler", help=f"One of {', '.join(SCHEDULERS)}  [default: mh]"
)
flags_option = click.option(
    "-b",
    "--sched-flags",
    metavar="FLAG,…",
    help="mh-port, mh-fallback, sh-port, sh-fallback; '' for none.",
)
one_packet_option = click.option(
    "-o/ ", "--ops/--no-ops", "one_packet", default=None, help="Balance each UDP packet by itself."
)
limit_option = click.option(
    "--limit", type=int, metavar="N", help="New flows a second; 0: as many as come  [default: 0]"
)
source_limit_option = click.option(
    "--source-limit", type=int, metavar="N", help="The same, of each client's address."
)
source_cidr_option = click.option(
    "--source-cidr",
    metavar="PREFIX",
    help="Give each flow an outer source of these; '' for none  [default: the DIP for all]",
)
real_option = click.option(
    "-r", "--real-server", "real", required=True, metavar="RIP", help="The real server's address."
)
ipip_option = click.option(
    "-i", "--ipip", is_flag=True, help="Tunnel; accepted for ipvsadm's sake: it is what we do."
)


def tunnel_options(command: Command) -> Command:
    """How a real is reached: the names are ipvsadm's."""
    for option in (
        ipip_option,
        click.option(
            "--tun-csum/--tun-nocsum",
            "checksum",
            default=None,
            help="GRE's or GUE's checksum over all that is carried.  [default: none]",
        ),
        click.option("--tun-port", metavar="PORT", help=f"GUE's, of UDP  [default: {GUE_PORT}]"),
        click.option(
            "--tun-type",
            "kind",
            type=click.Choice(TUNNEL_KINDS),
            help="How packets are wrapped for this real  [default: ipip]",
        ),
    ):
        command = option(command)
    return command


def _tunnel(kind: str | None, port: str | None, checksum: bool | None) -> Tunnel | None:
    """None if nothing is said of it. Raises: UsageError."""
    if kind is None and port is None and checksum is None:
        return None
    number = None if port is None else parse_port(port, "tunnel port")
    return Tunnel.of(kind or IPIP.kind, number, bool(checksum))


def _weight(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"weight '{text}' is not a number", "give 0 … 65535; 0 drains")
    return int(text)


def _flags(text: str | None) -> frozenset[str]:
    return frozenset(flag for flag in (text or "").split(",") if flag)


def _tell(director: Director) -> None:
    for note in director.notes:
        click.echo(f"note: {note}", err=True)


@click.group("service")
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
    director = Director(instance)
    director.add_service(
        Service(
            key,
            scheduler or "mh",
            _flags(sched_flags),
            bool(one_packet),
            limit=limit or 0,
            source_limit=source_limit or 0,
            source_cidr=parse_source(source_cidr or ""),
        )
    )
    _tell(director)


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
    """Change a service (ipvsadm -E). What is not given stays; flags go with their scheduler."""
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
    director = Director(instance)
    director.edit_service(key, **changes)
    _tell(director)


@service_command.command("del")
@service_options
@click.pass_obj
def _service_del(instance: str, tcp: str | None, udp: str | None) -> None:
    """Remove a service and its reals (ipvsadm -D)."""
    Director(instance).remove_service(service_key(tcp, udp))


@click.group("server")
def server_command() -> None:
    """Add, change, drain or remove a real server of a service."""


@server_command.command("add")
@service_options
@real_option
@click.option("-w", "--weight", metavar="N", help="0 … 65535  [default: 1]")
@tunnel_options
@click.pass_obj
def _server_add(
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
    """Add a real server (ipvsadm -a)."""
    key = service_key(tcp, udp)
    tunnel = _tunnel(kind, tun_port, checksum) or IPIP
    Director(instance).add_real(key, real_address(real, key), _weight(weight, 1), tunnel)


@server_command.command("edit")
@service_options
@real_option
@click.option("-w", "--weight", metavar="N", help="0 … 65535; 0 drains.")
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
    """Change a real server's weight or tunnel (ipvsadm -e). What is not given stays."""
    key = service_key(tcp, udp)
    tunnel = _tunnel(kind, tun_port, checksum)
    if weight is None and tunnel is None:
        raise UsageError(f"nothing is said to change of {real}", "give -w or --tun-type")
    number = None if weight is None else _weight(weight, 1)
    Director(instance).edit_real(key, real_address(real, key), number, tunnel)


@server_command.command("drain")
@service_options
@real_option
@click.pass_obj
def _server_drain(instance: str, tcp: str | None, udp: str | None, real: str) -> None:
    """Give a real server no new flows; those it has go on (weight 0)."""
    key = service_key(tcp, udp)
    Director(instance).edit_real(key, real_address(real, key), 0)


@server_command.command("del")
@service_options
@real_option
@click.pass_obj
def _server_del(instance: str, tcp: str | None, udp: str | None, real: str) -> None:
    """Remove a real server (ipvsadm -d); flows it still has break: drain it first."""
    key = service_key(tcp, udp)
    Director(instance).remove_real(key, real_address(real, key))


@click.command("zero")
@service_options
@click.pass_obj
def zero_command(instance: str, tcp: str | None, udp: str | None) -> None:
    """Set the counters of a service, or all, to zero (ipvsadm -Z)."""
    Director(instance).zero(optional_key(tcp, udp))


@click.command("flush")
@click.pass_obj
def flush_command(instance: str) -> None:
    """Remove all services (ipvsadm -C)."""
    count = Director(instance).flush()
    click.echo(f"{count} service{'' if count == 1 else 's'} removed")


@click.command("set")
@click.argument("tcp", type=click.IntRange(min=0))
@click.argument("tcpfin", type=click.IntRange(min=0))
@click.argument("udp", type=click.IntRange(min=0))
@click.pass_obj
def set_command(instance: str, tcp: int, tcpfin: int, udp: int) -> None:
    """Set the idle timeouts, in seconds (ipvsadm --set); 0 leaves one as it is."""
    given = {"tcp": tcp, "tcpfin": tcpfin, "udp": udp}
    Director(instance).set_timeouts(**{name: n for name, n in given.items() if n})


@click.command("apply")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@json_option
@click.pass_obj
def apply_command(instance: str, file: Path, dry_run: bool, as_json: bool) -> None:
    """Make the configuration that FILE describes (TOML; - reads standard input), as one change."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"{file} cannot be read: {reason}", "name a file of TOML") from error
    lines = Director(instance).apply(toml_file.parse(text, str(file)), dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, "changes": lines})
    else:
        click.echo("\n".join(lines) if lines else "nothing to change")


@click.command("save")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.pass_obj
def save_command(instance: str, file: Path | None) -> None:
    """Print the configuration as `apply` takes it, or write it to FILE."""
    text = toml_file.dump(Readings(instance).configuration())
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        file.write_text(text)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}", "name a file in a directory of yours"
        ) from error
