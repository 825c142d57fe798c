# SPDX-License-Identifier: MIT
"""The operator's configuration file: TOML ↔ `model.Configuration`, and what differs between two.

    deny = ["192.0.2.0/24"]       # prefixes to take nothing from; may be left out

    [timeouts]                    # seconds; each may be left out
    tcp = 900

    [[service]]
    tcp = "192.168.2.100:80"      # or udp = "…"; port 0 is any port
    scheduler = "mh"              # the default
    flags = ["mh-port"]           # may be left out
    one_packet = false            # may be left out; UDP only
    limit = 10000                 # new flows a second; may be left out: as many as come
    source_limit = 10             # the same, of each client's address
    source_cidr = "10.9.0.0/24"   # outer sources, one for each flow; may be left out: the DIP
    reals = [
        "192.168.2.220",
        "192.168.2.210 weight=3", # 0 drains; 1 is the default
        "192.168.2.211 tunnel=gue:6080+csum", # or gre, gre+csum; ipip is the default
    ]

A real is one line, so that a diff of two files reads like the change that was made.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Any, TypeVar

from xdplb.errors import AlreadyExists, UsageError
from xdplb.model import (
    IPIP,
    MAX_LIMIT,
    MAX_WEIGHT,
    Configuration,
    Protocol,
    Real,
    Service,
    ServiceKey,
    Timeouts,
    Tunnel,
)
from xdplb.net import Address, Prefix, parse_address, parse_endpoint, parse_prefix, sort_prefixes
from xdplb.schedulers import check_flags, get_scheduler
from xdplb.sources import check_source, parse_source

MAX_TIMEOUT_S = 12 * 3600  # a flow's record tells times apart for 15 hours at least

BROADCAST = IPv4Address("255.255.255.255")
V4_MAPPED = IPv6Network("::ffff:0:0/96")  # how the tables hold IPv4: RFC 4291 §2.5.5.2

TABLES = ("timeouts", "service", "deny")
TIMEOUTS = tuple(field.name for field in fields(Timeouts))
PROTOCOLS = tuple(protocol.name.lower() for protocol in Protocol)
LIMITS = ("limit", "source_limit")
SERVICE_KEYS = (*PROTOCOLS, "scheduler", "flags", "one_packet", *LIMITS, "source_cidr", "reals")

Value = TypeVar("Value")


# What a file says.


def parse(text: str, source: str) -> Configuration:
    """Parse a configuration file's text; `source` names it in messages.

    A drained real's last_weight is not in the file: it becomes 0, as IPVS's does when it is
    added so (but see `carry_last_weights`).
    Raises: UsageError naming file, table, key and reason.
    """
    import tomllib

    with _within(source):
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"not TOML: {error}", "mend that line (https://toml.io)") from error
        _check_keys(document, TABLES)
        denied = tuple(map(parse_prefix, _list(document, "deny", str, '["192.0.2.0/24"]')))
        check_denied(denied)
        with _within("timeouts"):
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
    with _within(f"service number {number}"):
        protocols = [name for name in PROTOCOLS if name in table]
        if len(protocols) != 1:
            raise UsageError(
                f"it has {' and '.join(protocols) or 'neither tcp nor udp'}",
                'give one, as tcp = "192.0.2.1:80" or udp = "192.0.2.1:53"',
            )
        endpoint = _typed(table, protocols[0], str, '"192.0.2.1:80"')
        key = ServiceKey(Protocol[protocols[0].upper()], *parse_endpoint(endpoint))
    with _within(f"service {key}"):
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
            **limits,
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
            raise _bad_weight(real.address, value)
        real = replace(real, weight=int(value), last_weight=int(value))
    if "tunnel" in given:
        with _within(f"real {real.address}"):
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
    if type(value) is not kind:  # not isinstance: TOML's true is no number
        raise UsageError(f"{key}: {value!r} will not do", f"write it as {example}")
    return value


def _list(table: Mapping[str, Any], key: str, kind: type[Value], example: str) -> list[Value]:
    values = _typed(table, key, list, example, [])
    if not all(isinstance(value, kind) for value in values):
        raise UsageError(f"{key}: {values!r} will not do", f"write it as {example}")
    return values


@contextmanager
def _within(place: str) -> Iterator[None]:
    """Put where it happened before what happened."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{place}: {error.what}", error.mend) from error


# What holds of any configuration, wherever it comes from.


def check_service(service: Service) -> None:
    """What must hold of a service by itself. Raises: UsageError, AlreadyExists."""
    with _within(f"service {service.key}"):
        check_address(service.key.vip, "VIP")
        scheduler = get_scheduler(service.scheduler)
        check_flags(scheduler, service.flags)
        if service.one_packet and service.key.protocol != Protocol.UDP:
            raise UsageError("one_packet is for UDP only", "leave it out, or make this service UDP")
        for name in LIMITS:
            if not 0 <= getattr(service, name) <= MAX_LIMIT:
                raise UsageError(
                    f"{name}: {getattr(service, name)} is out of range",
                    f"give 1 to {MAX_LIMIT} new flows a second, or 0 for any number",
                )
        seen: set[Address] = set()
        for real in service.reals:
            check_address(real.address, "real")
            if real.address == service.key.vip:
                raise UsageError(f"real {real.address} is the VIP itself", "give the real's RIP")
            if real.address in seen:
                raise AlreadyExists(
                    f"real {real.address} is given twice", "give it once, with their joint weight"
                )
            if not 0 <= real.weight <= MAX_WEIGHT:
                raise _bad_weight(real.address, real.weight)
            seen.add(real.address)
        if service.source_cidr is not None:
            check_source(service.source_cidr, service.key.vip, seen)


def check_timeouts(timeouts: Timeouts) -> None:
    """Timeouts are from 1 s to 12 hours. Raises: UsageError."""
    for name, seconds in asdict(timeouts).items():
        if not 1 <= seconds <= MAX_TIMEOUT_S:
            raise UsageError(
                f"{name}: {seconds} s is out of range", f"give 1 to {MAX_TIMEOUT_S} seconds"
            )


def check_denied(prefixes: Sequence[Prefix]) -> None:
    """What must hold of prefixes to deny. Raises: UsageError, AlreadyExists."""
    seen: set[Prefix] = set()
    for prefix in prefixes:
        if prefix.overlaps(V4_MAPPED):  # never true of IPv4
            raise UsageError(
                f"prefix {prefix} takes in IPv4, by its v4-mapped addresses",
                "write 2000::/3 for all of IPv6's Internet, and IPv4 prefixes as 192.0.2.0/24",
            )
        if prefix in seen:
            raise AlreadyExists(f"prefix {prefix} is given twice", "give it once")
        seen.add(prefix)


def check_address(address: Address, what: str) -> None:
    """Raises: UsageError naming `what` that cannot be balanced."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            raise UsageError(
                f"{what} {address} is an IPv4 address", f"write it as {address.ipv4_mapped}"
            )
        if address.is_link_local or address.scope_id:
            raise UsageError(f"{what} {address} is of one link only", "give a global address")
        if address.is_loopback:
            raise UsageError(f"{what} {address} never leaves a host", "give a global address")
    if address.is_unspecified or address.is_multicast or address == BROADCAST:
        raise UsageError(f"{what} {address} is no host's address", "give a unicast address")


def _bad_weight(address: Address, weight: object) -> UsageError:
    return UsageError(
        f"real {address}: weight '{weight}' will not do", f"give a number from 0 to {MAX_WEIGHT}"
    )


# What becomes of a configuration.


def dump(configuration: Configuration) -> str:
    """The file that says this: `parse` reads the same from it, but for drained last_weights."""
    lines = []
    if configuration.denied:  # before any table, or TOML takes it for a part of that
        denied = sort_prefixes(configuration.denied)
        lines += ["deny = [", *(f'    "{prefix}",' for prefix in denied), "]", ""]
    timeouts = asdict(configuration.timeouts)
    lines += ["[timeouts]", *(f"{name} = {seconds}" for name, seconds in timeouts.items())]
    for service in configuration.services.values():
        lines += ["", "[[service]]", *_dump_service(service)]
    return "\n".join(lines) + "\n"


def _dump_service(service: Service) -> Iterator[str]:
    # No value needs escaping: they are addresses, and names that check_service knows.
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


def carry_last_weights(old: Configuration, new: Configuration) -> Configuration:
    """`new`, its drained reals having the last_weight that `old` knows of them.

    With `mh-fallback`, a drained real keeps its slots by that weight, as in IPVS.
    """
    known = {(key, real.address): real for key in old.services for real in old.services[key].reals}

    def carried(key: ServiceKey, real: Real) -> Real:
        if real.weight > 0:
            return replace(real, last_weight=real.weight)
        return replace(real, last_weight=known.get((key, real.address), real).last_weight)

    services = {
        key: replace(service, reals=tuple(carried(key, real) for real in service.reals))
        for key, service in new.services.items()
    }
    return replace(new, services=MappingProxyType(services))


def diff(old: Configuration, new: Configuration) -> list[str]:
    """What changes from old to new, one readable line each; last_weights do not count."""
    before, after = asdict(old.timeouts), asdict(new.timeouts)
    lines = [
        f"~ timeout {name} {before[name]} → {after[name]}"
        for name in TIMEOUTS
        if before[name] != after[name]
    ]
    lines += [f"- deny {prefix}" for prefix in sort_prefixes(old.denied - new.denied)]
    lines += [f"+ deny {prefix}" for prefix in sort_prefixes(new.denied - old.denied)]
    for key in dict.fromkeys((*old.services, *new.services)):
        lines += _diff_service(key, old.services.get(key), new.services.get(key))
    return lines


def _diff_service(key: ServiceKey, old: Service | None, new: Service | None) -> Iterator[str]:
    if old is None and new is not None:
        traits = (value for value in _traits(new).values() if value)
        yield " ".join(["+ service", str(key), *traits])
    elif new is None:
        yield f"- service {key}"
    elif old is not None:
        was, now = _traits(old), _traits(new)
        for name in was:
            if was[name] != now[name]:
                before, after = (
                    side[name].removeprefix(f"{name}=") or "none" for side in (was, now)
                )
                yield f"~ service {key} {name} {before} → {after}"
    had = {real.address: real for real in old.reals} if old else {}
    has = {real.address: real for real in new.reals} if new else {}
    for address in dict.fromkeys((*had, *has)):
        yield from _diff_real(f"real {key} {address}", had.get(address), has.get(address))
    if [a for a in had if a in has] != [a for a in has if a in had]:
        yield f"~ service {key} order of reals"


def _diff_real(line: str, old: Real | None, new: Real | None) -> Iterator[str]:
    if new is None:
        yield f"- {line}"
    elif old is None:
        tunnel = "" if new.tunnel == IPIP else f" tunnel {new.tunnel}"
        yield f"+ {line} weight {new.weight}{tunnel}"
    else:
        if old.weight != new.weight:
            yield f"~ {line} weight {old.weight} → {new.weight}"
        if old.tunnel != new.tunnel:
            yield f"~ {line} tunnel {old.tunnel} → {new.tunnel}"


def _traits(service: Service) -> dict[str, str]:
    return {
        "scheduler": service.scheduler,
        "flags": ",".join(sorted(service.flags)),
        "one_packet": "one_packet" if service.one_packet else "",
        **{
            name: f"{name}={value}" if (value := getattr(service, name)) else ""
            for name in (*LIMITS, "source_cidr")
        },
    }
