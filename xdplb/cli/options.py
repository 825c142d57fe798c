# SPDX-License-Identifier: MIT
"""Options that several commands share; their letters are ipvsadm's."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from xdplb.errors import UsageError
from xdplb.model.address import Address, parse_address, parse_endpoint, parse_port
from xdplb.model.service import Protocol, ServiceKey

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def service_options(command: Command) -> Command:
    """-t, -u: which service."""
    for option in (
        click.option("-u", "--udp-service", "udp", metavar="VIP:PORT", help="A UDP service."),
        click.option("-t", "--tcp-service", "tcp", metavar="VIP:PORT", help="A TCP service."),
    ):
        command = option(command)
    return command


def service_key(tcp: str | None, udp: str | None) -> ServiceKey:
    """Raises: UsageError unless exactly one is given."""
    key = optional_key(tcp, udp)
    if key is None:
        raise UsageError("no service is named", "give -t VIP:PORT or -u VIP:PORT")
    return key


def optional_key(tcp: str | None, udp: str | None) -> ServiceKey | None:
    """The service that is named, None if none is. Raises: UsageError if both are."""
    if tcp and udp:
        raise UsageError("-t and -u name two services", "give one of them")
    text = tcp or udp
    if not text:
        return None
    return ServiceKey(Protocol.TCP if tcp else Protocol.UDP, *parse_endpoint(text))


def real_address(text: str, key: ServiceKey) -> Address:
    """RIP or RIP:PORT, IPv6 in brackets then. Raises: UsageError if the port is not the service's:
    tunnels map none.
    """
    bracketed = text.startswith("[")
    if text.endswith("]") if bracketed else text.count(":") != 1:
        return parse_address(text[1:-1] if bracketed else text, "real")
    host, _, port = text.rpartition(":")
    if parse_port(port) != key.port:
        raise UsageError(
            f"real {text} has another port than its service ({key.port})",
            "a tunnel keeps the client's packet as it is: leave the port out",
        )
    return parse_address(host[1:-1] if bracketed and host.endswith("]") else host, "real")


def print_json(value: Any, *, lines: bool = False) -> None:
    """One value, indented; lines: on a line of its own, as one of several."""
    click.echo(json.dumps(value, indent=None if lines else 2))
