# SPDX-License-Identifier: MIT
"""Reading a director: configuration, counters, flows. Changes nothing, takes no lock."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xdplb.director import machine, store
from xdplb.director.director import missing_service
from xdplb.director.host_shares import HostShares
from xdplb.director.instance import Instance
from xdplb.director.journal import Journal
from xdplb.director.rings import boot_seconds
from xdplb.director.state import State
from xdplb.director.vips import Vip
from xdplb.errors import MissingPart
from xdplb.host.addresses import local_addresses
from xdplb.host.ip import addresses_of, links
from xdplb.kernel import libbpf, pins
from xdplb.kernel.flows import decode_flows
from xdplb.kernel.program_text import enum_values
from xdplb.kernel.tables import Tables
from xdplb.model.address import Prefix, parse_address, sort_addresses, sort_prefixes
from xdplb.model.configuration import Configuration
from xdplb.model.service import Service, ServiceKey
from xdplb.model.tunables import Tunables

TRIES = 5  # an upgrade with another layout removes the tables that a reader is about to open


class Readings:
    """What can be read of one instance. All methods raise NotAttached unless they say otherwise."""

    def __init__(self, name: str = "default") -> None:
        self.instance = Instance(name)

    @contextmanager
    def _opened(self) -> Iterator[tuple[State, Tables]]:
        state, tables = self._open()
        try:
            yield state, tables
        finally:
            tables.close()

    def _open(self) -> tuple[State, Tables]:
        for left in reversed(range(TRIES)):
            state = store.read_state(self.instance)
            try:
                return state, store.open_tables(self.instance, state)
            except MissingPart:
                if not left or store.read_state(self.instance).attached == state.attached:
                    raise
        raise AssertionError("unreachable")

    def tunables(self) -> Tunables:
        """The sizes in force, or those the next attach takes. Raises: NoPermission."""
        return store.read_state(self.instance).wanted.tunables

    def configuration(self) -> Configuration:
        """What `save` writes. Raises: NotAttached."""
        with self._opened() as (state, _):
            return state.configuration()

    def listing(
        self, only: ServiceKey | None = None, *, stats: bool = False
    ) -> list[dict[str, Any]]:
        """All services and reals, as `list --json` shows them. Raises: NotAttached, NotFound."""
        with self._opened() as (state, tables):
            return [_entry(state, tables, key, stats=stats) for key in _keys(state, only)]

    def denied(self) -> list[Prefix]:
        """The deny list. Raises: NotAttached."""
        with self._opened() as (state, _):
            return sort_prefixes(state.denied_prefixes())

    def vips(self) -> list[Vip]:
        """All VIPs, added or of services. Raises: NoPermission."""
        state = store.read_state(self.instance)
        if state.attached is None and not state.vips():
            raise store.not_attached(self.instance, state)
        held = HostShares(self.instance).held_addresses()
        devices = {a: link["ifname"] for link in links() for a in addresses_of(link)}
        return [
            Vip(
                vip,
                devices.get(vip, ""),
                vip in state.wanted.vips,
                str(vip) in held,
                sum(key.vip == vip for key in state.wanted.services),
            )
            for vip in state.vips()
        ]

    def flows(self, only: ServiceKey | None = None) -> list[dict[str, Any]]:
        """Live flow records by service, real and state. Raises: NotAttached, NotFound."""
        import numpy as np

        with self._opened() as (state, tables):
            flows = decode_flows(tables, state.clock)
            names = {
                value: name.removeprefix("FLOW_").lower().replace("_", " ")
                for name, value in enum_values("flow_state").items()
            }
            owners = {
                index: (str(key), address)
                for key in _keys(state, only)
                for address, index in zip(
                    state.wanted.services.addresses(key), state.allocated.indices(key), strict=True
                )
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
        with self._opened() as (_, tables):
            return tables.counters.sum_cpus(0)

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
            stats.update({k: (stats[k] - old.get(k, 0)) / elapsed for k in stats})
        return then, {k: (v - counted[k]) / elapsed for k, v in counted_then.items()}

    def status(self) -> dict[str, Any]:
        """What is attached where, by path and id, and what became of every packet."""
        journal = Journal.read(self.instance)
        with self._opened() as (state, tables):
            attached = state.attached
            assert attached is not None, "only an attached director has tables"
            program = self.instance.layout(attached.layout) / attached.programs / machine.MAIN
            services, here = state.wanted.services, local_addresses()
            added: dict[str, list[str]] = {name: [] for name in attached.interfaces}
            for vip, device in HostShares(self.instance).held_addresses().items():
                if parse_address(vip) in here:
                    added.setdefault(device, []).append(vip)
            return {
                "instance": self.instance.name,
                "unfinished": _unfinished(journal),
                "interfaces": {
                    name: {
                        "mode": mode if machine.is_linked(self.instance, name) else "gone",
                        "added_vips": added[name],
                        "link": str(self.instance.link(name)),
                    }
                    for name, mode in attached.interfaces.items()
                },
                "program": {"path": str(program), "id": _program_id(program)},
                "maps": {name: {"path": str(t.path), "id": t.id} for name, t in tables},
                "tunables": asdict(state.wanted.tunables),
                "timeouts": asdict(state.wanted.timeouts),
                "vips": [str(vip) for vip in sort_addresses(state.vips())],
                "missing_vips": [str(vip) for vip in state.wanted.vips if vip not in here],
                "denied": len(state.wanted.denied),
                "services": len(services),
                "reals": sum(len(services.addresses(key)) for key in services),
                "counters": tables.counters.sum_cpus(0),
            }


def _unfinished(journal: Journal | None) -> str:
    """What a command that was killed left, in words; "" if nothing is left."""
    if journal is None:
        return ""
    if journal.failed:
        return f"a change could be neither finished nor undone: {journal.failed}"
    return "a change is under way, or its command was killed: the next command finishes it"


def _keys(state: State, only: ServiceKey | None) -> list[ServiceKey]:
    if only is None:
        return list(state.wanted.services)
    if only not in state.wanted.services:
        raise missing_service(only)
    return [only]


def _entry(state: State, tables: Tables, key: ServiceKey, *, stats: bool) -> dict[str, Any]:
    entry = describe_service(state.wanted.services[key], state.effective(key))
    moving = state.transitions.get(key)
    entry["transition_s"] = max(0, moving.until - boot_seconds()) if moving else None
    if stats:
        entry["stats"] = total = dict.fromkeys(tables.real_stats.names, 0)
        total |= state.removed.get(key, {})
        for real, index in zip(entry["reals"], state.allocated.indices(key), strict=True):
            real["stats"] = tables.real_stats.sum_cpus(index)
            for name, value in real["stats"].items():
                total[name] = total.get(name, 0) + value
    return entry


def _program_id(pin: Path) -> int:
    with pins.opened(pin) as fd:
        return int(libbpf.prog_info(fd).id)


def _all_stats(listed: list[dict[str, Any]]) -> Any:
    for entry in listed:
        yield entry["service"], entry["stats"]
        for real in entry["reals"]:
            yield (entry["service"], real["address"]), real["stats"]


def describe_service(service: Service, effective: Service) -> dict[str, Any]:
    """A service as JSON. weight: as configured; effective_weight: with what was found."""
    return {
        "service": str(service.key),
        "owner": service.owner,
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
            {
                "address": str(real.address),
                "weight": real.weight,
                "effective_weight": now.weight,
                "tunnel": str(real.tunnel),
            }
            for real, now in zip(service.reals, effective.reals, strict=True)
        ],
    }
