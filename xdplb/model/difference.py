# SPDX-License-Identifier: MIT
"""What differs between two configurations, and what the new one takes over from the old."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from types import MappingProxyType

from xdplb.model.address import sort_prefixes
from xdplb.model.configuration import TIMEOUTS, Configuration
from xdplb.model.service import LIMITS, Real, Service, ServiceKey
from xdplb.model.tunnel import IPIP


def carry_last_weights(old: Configuration, new: Configuration) -> Configuration:
    """Give the drained reals of `new` the last_weight that they have in `old`.

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
    """What changes from old to new, one readable line each. A last_weight is no change."""
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
