# SPDX-License-Identifier: MIT
"""Options that several commands share; their letters are ipvsadm's."""

import contextlib
import contextvars
import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from xdplb.director.director import Director

from xdplb.errors import UsageError
from xdplb.model.address import Address, parse_address, parse_endpoint, parse_port
from xdplb.model.service import Protocol, ServiceKey

Options = TypeVar("Options", bound=Callable[..., Any])


def number(low: int, high: int) -> Callable[[str], int]:
    """An option's type: ASCII digits. click's own also takes other digits, `1_000` and ` 7`."""

    def parse(text: str) -> int:
        digits = len(str(high))
        if re.fullmatch(rf"[0-9]{{1,{digits}}}", text) and low <= int(text) <= high:
            return int(text)
        raise click.BadParameter(f"'{text}' is not a number from {low} to {high}")

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    """An option's type: a time in seconds, such as 2 or 0.5. click's own also takes nan and inf."""

    def parse(text: str) -> float:
        if re.fullmatch(r"[0-9]+([.][0-9]+)?", text) and low <= float(text) <= high:
            return float(text)
        raise click.BadParameter(f"'{text}' is not a number from {low} to {high}")

    return parse


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def service_options(command: Options) -> Options:
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
    """The named service; None if none is named. Raises: UsageError if both -t and -u are."""
    if tcp is not None and udp is not None:
        raise UsageError("-t and -u name two services", "give one of them")
    if tcp is not None:
        return ServiceKey(Protocol.TCP, *parse_endpoint(tcp))
    if udp is not None:
        return ServiceKey(Protocol.UDP, *parse_endpoint(udp))
    return None


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
    """One value, indented. lines: each value is on a line of its own."""
    click.echo(json.dumps(value, indent=None if lines else 2))


_shared: contextvars.ContextVar["Director | None"] = contextvars.ContextVar("shared", default=None)


def director_of(instance: str) -> "Director":
    """The director that a command changes: its batch's, or one of its own."""
    from xdplb.director.director import Director

    return _shared.get() or Director(instance)


@contextlib.contextmanager
def shared(director: "Director") -> Iterator[None]:
    """Commands in the block change this director."""
    token = _shared.set(director)
    try:
        yield
    finally:
        _shared.reset(token)


def tell_notes(director: "Director") -> None:
    """Print notes for the operator, although nothing failed. A batch prints them at its end."""
    if _shared.get() is None:
        for note in director.notes:
            click.echo(f"note: {note}", err=True)
