# SPDX-License-Identifier: MIT
"""Reading a director: configuration, counters, flows. Changes nothing, takes no lock."""

import time
from collections.abc import Mapping
from typing import Any

from xdplb.director import pins
from xdplb.director.instance import Instance, addresses_of
from xdplb.director.pins import open_tables
from xdplb.director.state import State
from xdplb.director.table_writer import boot_seconds, decode_flows
from xdplb.errors import NotFound
from xdplb.kernel import libbpf
from xdplb.kernel.program_text import enum_values
from xdplb.model.address import Prefix, parse_prefix, sort_prefixes
from xdplb.model.configuration import Configuration, Timeouts
from xdplb.model.service import Service, ServiceKey
from xdplb.model.tunables import Tunables


class Readings:
    """What can be read of one instance. All methods raise NotAttached unless they say otherwise."""

    def __init__(self, instance: str) -> None:
        self.place = Instance(instance)

    def tunables(self) -> Tunables:
        """The sizes in force, or those the next attach takes."""
        return State.read(self.place.state).tunables

    def timeouts(self) -> Timeouts:
        """The idle times in force, or those the next attach takes."""
        return State.read(self.place.state).timeouts

    def configuration(self) -> Configuration:
        """What `save` writes. Raises: NotAttached."""
        state = State.read(self.place.state)
        open_tables(self.place, state)
        return state.configuration()

    def listing(
        self, only: ServiceKey | None = None, *, stats: bool = False
    ) -> list[dict[str, Any]]:
        """All services and reals, as `list --json` shows them. Raises: NotAttached, NotFound."""
        state = State.read(self.place.state)
        tables = open_tables(self.place, state)
        listed = []
        for key in _keys(state, only):
            service = state.service(key)
            entry = describe_service(service)
            until = state.raw["services"][str(key)]["until"]
            entry["transition_s"] = max(0, until - boot_seconds()) if until else None
            reals = zip(entry["reals"], state.real_indices(key), strict=True)
            if stats:
                entry["stats"] = total = dict(state.raw["services"][str(key)]["past"])
                for real, index in reals:
                    real["stats"] = tables.real_stats.sum_cpus(index)
                    for name, value in real["stats"].items():
                        total[name] = total.get(name, 0) + value
            listed.append(entry)
        return listed

    def denied(self) -> list[Prefix]:
        """The deny list. Raises: NotAttached."""
        state = State.read(self.place.state)
        open_tables(self.place, state)
        return sort_prefixes(map(parse_prefix, state.raw["denied"]))

    def flows(self, only: ServiceKey | None = None) -> list[dict[str, Any]]:
        """Live flow records by service, real and state. Raises: NotAttached, NotFound."""
        import numpy as np

        state = State.read(self.place.state)
        tables = open_tables(self.place, state)
        flows = decode_flows(tables, state)
        names = {
            value: name.removeprefix("FLOW_").lower().replace("_", " ")
            for name, value in enum_values("flow_state").items()
        }
        owners = {
            index: (str(key), str(real.address))
            for key in _keys(state, only)
            for real, index in zip(state.service(key).reals, state.real_indices(key), strict=True)
        }
        pairs, counts = np.unique(flows[["real", "state"]], return_counts=True)
        return [
            {
                "service": owners[int(index)][0],
                "real": owners[int(index)][1],
                "state": names[int(flow_state)],
                "flows": int(count),
            }
            for (index, flow_state), count in zip(pairs, counts, strict=True)
            if int(index) in owners
        ]

    def counters(self) -> Mapping[str, int]:
        """What became of every packet: the fields of struct counters. Raises: NotAttached."""
        return open_tables(self.place, State.read(self.place.state)).counters.sum_cpus(0)

    def rates(self, seconds: float, only: ServiceKey | None = None) -> list[dict[str, Any]]:
        """As listing(), with what was counted in so many seconds, a second."""
        return self.rates_and_counters(seconds, only)[0]

    def rates_and_counters(
        self, seconds: float, only: ServiceKey | None = None
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """rates(), and those of counters()."""
        start = time.monotonic()
        listed, counted = self.listing(only, stats=True), self.counters()
        time.sleep(seconds)
        then, counted_then = self.listing(only, stats=True), self.counters()
        elapsed = time.monotonic() - start
        before = dict(_all_stats(listed))
        for name, stats in _all_stats(then):
            old = before.get(name, stats)
            stats.update({k: (stats[k] - old[k]) / elapsed for k in stats})
        return then, {k: (v - counted[k]) / elapsed for k, v in counted_then.items()}

    def status(self) -> dict[str, Any]:
        """What is attached where, by path and id, and what became of every packet."""
        from xdplb.director import xdp_links

        state = State.read(self.place.state)
        tables = open_tables(self.place, state)
        program = pins.program_pin(self.place, state)
        added: dict[str, list[str]] = {name: [] for name in state.raw["interfaces"]}
        for vip, owner in state.raw["vips"].items():
            if owner in added:
                added[owner].append(vip)
        return {
            "instance": self.place.instance,
            "interfaces": {
                name: {
                    "mode": about["mode"] if xdp_links.is_linked(self.place, name) else "gone",
                    "added_vips": added[name],
                    "link": str(pins.link_pin(self.place, name)),
                }
                for name, about in state.raw["interfaces"].items()
            },
            "program": {"path": str(program), "id": _program_id(program)},
            "maps": {name: {"path": str(t.path), "id": t.id} for name, t in tables},
            "tunables": state.raw["tunables"],
            "timeouts": state.raw["timeouts"],
            "vips": [str(vip) for vip in state.vips()],
            "denied": len(state.raw["denied"]),
            "services": len(state.raw["services"]),
            "reals": sum(len(addresses_of(s)) for s in state.raw["services"].values()),
            "counters": self.counters(),
        }


def _keys(state: State, only: ServiceKey | None) -> list[ServiceKey]:
    if only is None:
        return state.service_keys()
    if only not in state:
        raise NotFound(f"service {only} does not exist", "see: xdplb list")
    return [only]


def _program_id(pin: Any) -> int:
    return int(libbpf.prog_info(libbpf.obj_get(pin)).id)


def _all_stats(listed: list[dict[str, Any]]) -> Any:
    for entry in listed:
        yield entry["service"], entry["stats"]
        for real in entry["reals"]:
            yield (entry["service"], real["address"]), real["stats"]


def describe_service(service: Service) -> dict[str, Any]:
    """A service as JSON."""
    return {
        "service": str(service.key),
        "protocol": service.key.protocol.name.lower(),
        "vip": str(service.key.vip),
        "port": service.key.port,
        "scheduler": service.scheduler,
        "flags": sorted(service.flags),
        "one_packet": service.one_packet,
        "limit": service.limit,
        "source_limit": service.source_limit,
        "source_cidr": str(service.source_cidr or ""),
        "reals": [
            {"address": str(r.address), "weight": r.weight, "tunnel": str(r.tunnel)}
            for r in service.reals
        ],
    }
