# SPDX-License-Identifier: MIT
"""The operator's configuration file: TOML to `Configuration`, and back.

    deny = ["192.0.2.0/24"]       # no VIP takes packets from these; may be left out

    [timeouts]                    # seconds; each may be left out
    tcp = 900

    [[service]]
    tcp = "192.168.2.100:80"      # or udp = "…"; port 0 is any port
    scheduler = "mh"              # the default
    flags = ["mh-port"]           # may be left out
    one_packet = false            # may be left out; UDP only
    limit = 10000                 # new flows a second; may be left out: no limit
    source_limit = 10             # the same for each source: an IPv4 address or an IPv6 /64
    source_cidr = "10.9.0.0/24"   # outer sources, one for each flow; may be left out: the DIP
    reals = [
        "192.168.2.220",
        "192.168.2.210 weight=3", # 0 drains; 1 is the default
        "192.168.2.211 tunnel=gue:6080+csum", # or gre, gre+csum; ipip is the default
    ]

A real is one line, so a diff of two files shows the change.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any, TypeVar

from xdplb.errors import AlreadyExists, UsageError, within
from xdplb.model.address import parse_address, parse_endpoint, parse_prefix, sort_prefixes
from xdplb.model.checks import bad_weight, check_denied, check_service, check_timeouts
from xdplb.model.configuration import TIMEOUTS, Configuration, Timeouts
from xdplb.model.outer_source import parse_source
from xdplb.model.service import LIMITS, MAX_WEIGHT, Protocol, Real, Service, ServiceKey
from xdplb.model.tunnel import IPIP, Tunnel

TABLES = ("timeouts", "service", "deny")
PROTOCOLS = tuple(protocol.name.lower() for protocol in Protocol)
SERVICE_KEYS = (*PROTOCOLS, "scheduler", "flags", "one_packet", *LIMITS, "source_cidr", "reals")
Value = TypeVar("Value")


def parse(text: str, source: str) -> Configuration:
    """Parse a configuration file's text; `source` names it in messages.

    The file has no last_weight. A drained real's becomes 0, as in IPVS for a real that is added
    with weight 0 (but see `carry_last_weights`).
    Raises: UsageError naming file, table, key and reason.
    """
    import tomllib

    with within(source):
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"not TOML: {error}", "mend that line (https://toml.io)") from error
        _check_keys(document, TABLES)
        denied = tuple(map(parse_prefix, _list(document, "deny", str, '["192.0.2.0/24"]')))
        check_denied(denied)
        with within("timeouts"):
            timeouts = _parse_timeouts(_typed(document, "timeouts", dict, "[timeouts]", {}))
        services: dict[ServiceKey, Service] = {}
        for number, table in enumerate(_list(document, "service", dict, "[[service]]"), 1):
            service = _parse_service(table, number)
            if service.key in services:
                raise AlreadyExists(
                    f"service {service.key}: there are two tables of it", "make them one"
                )
            services[service.key] = service
    return Configuration(MappingProxyType(services), timeouts, frozenset(denied))


def _parse_timeouts(table: dict[str, Any]) -> Timeouts:
    _check_keys(table, TIMEOUTS)
    timeouts = Timeouts(**{name: _typed(table, name, int, "900") for name in table})
    check_timeouts(timeouts)
    return timeouts


def _parse_service(table: dict[str, Any], number: int) -> Service:
    with within(f"service number {number}"):
        protocols = [name for name in PROTOCOLS if name in table]
        if len(protocols) != 1:
            raise UsageError(
                f"it has {' and '.join(protocols) or 'neither tcp nor udp'}",
                'give one, as tcp = "192.0.2.1:80" or udp = "192.0.2.1:53"',
            )
        endpoint = _typed(table, protocols[0], str, '"192.0.2.1:80"')
        key = ServiceKey(Protocol[protocols[0].upper()], *parse_endpoint(endpoint))
    with within(f"service {key}"):
        _check_keys(table, SERVICE_KEYS)
        flags = _list(table, "flags", str, '["mh-port"]')
        reals = _list(table, "reals", str, '["192.0.2.7 weight=3"]')
        limits = {name: _typed(table, name, int, "1000", 0) for name in LIMITS}
        service = Service(
            key,
            _typed(table, "scheduler", str, '"mh"', Service.scheduler),
            frozenset(flags),
            _typed(table, "one_packet", bool, "true or false", False),
            tuple(map(parse_real, reals)),
            source_cidr=parse_source(_typed(table, "source_cidr", str, '"10.9.0.0/24"', "")),
            limit=limits["limit"],
            source_limit=limits["source_limit"],
        )
        if len(service.flags) < len(flags):
            raise AlreadyExists("flags: one is given twice", "remove one of the two")
    check_service(service)
    return service


def parse_real(text: str) -> Real:
    """Parse `192.0.2.7`, `192.0.2.7 weight=3` or `192.0.2.7 tunnel=gre`. Raises: UsageError."""
    address, *options = text.split() or [""]
    real = Real(parse_address(address, "real"))
    given = dict(option.partition("=")[::2] for option in options)
    if given.keys() - {"weight", "tunnel"} or len(given) < len(options):
        raise UsageError(
            f"real '{text}' has something other than one weight and one tunnel",
            "write it as 192.0.2.7 weight=3 tunnel=gre",
        )
    if "weight" in given:
        value = given["weight"]
        if not (value.isascii() and value.isdigit() and len(value) <= len(str(MAX_WEIGHT))):
            raise bad_weight(real.address, value)
        real = replace(real, weight=int(value), last_weight=int(value))
    if "tunnel" in given:
        with within(f"real {real.address}"):
            real = replace(real, tunnel=Tunnel.parse(given["tunnel"]))
    return real


def _check_keys(table: Mapping[str, Any], valid: tuple[str, ...]) -> None:
    for key in table:
        if key not in valid:
            raise UsageError(f"unknown key '{key}'", f"choose from {', '.join(valid)}")


def _typed(
    table: Mapping[str, Any],
    key: str,
    kind: type[Value],
    example: str,
    default: Value | None = None,
) -> Value:
    value = table.get(key, default)
    if type(value) is not kind:  # not isinstance: a bool is an int in Python, not in TOML
        raise UsageError(f"{key}: {value!r} will not do", f"write it as {example}")
    return value


def _list(table: Mapping[str, Any], key: str, kind: type[Value], example: str) -> list[Value]:
    values = _typed(table, key, list, example, [])
    if not all(isinstance(value, kind) for value in values):
        raise UsageError(f"{key}: {values!r} will not do", f"write it as {example}")
    return values


def dump(configuration: Configuration) -> str:
    """The inverse of `parse`, except that the file has no last_weights."""
    lines = []
    if configuration.denied:  # before any table, or TOML makes it a key of that table
        denied = sort_prefixes(configuration.denied)
        lines += ["deny = [", *(f'    "{prefix}",' for prefix in denied), "]", ""]
    timeouts = asdict(configuration.timeouts)
    lines += ["[timeouts]", *(f"{name} = {seconds}" for name, seconds in timeouts.items())]
    for service in configuration.services.values():
        lines += ["", "[[service]]", *_dump_service(service)]
    return "\n".join(lines) + "\n"


def _dump_service(service: Service) -> Iterator[str]:
    # No value needs escaping: all are addresses, or names that check_service() knows.
    protocol, _, endpoint = str(service.key).partition("/")
    yield f'{protocol} = "{endpoint}"'
    yield f'scheduler = "{service.scheduler}"'
    if service.flags:
        flags = ", ".join(f'"{flag}"' for flag in sorted(service.flags))
        yield f"flags = [{flags}]"
    if service.one_packet:
        yield "one_packet = true"
    for name in LIMITS:
        if getattr(service, name):
            yield f"{name} = {getattr(service, name)}"
    if service.source_cidr:
        yield f'source_cidr = "{service.source_cidr}"'
    yield "reals = ["
    for real in service.reals:
        weight = "" if real.weight == 1 else f" weight={real.weight}"
        tunnel = "" if real.tunnel == IPIP else f" tunnel={real.tunnel}"
        yield f'    "{real.address}{weight}{tunnel}",'
    yield "]"
