# SPDX-License-Identifier: MIT
"""Desired state → tables, in an order in which every intermediate state forwards correctly:
reals, then the ring, then the service; the reverse to remove.
"""

import ctypes
import os
import socket
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import islice
from typing import Any

from xdplb.controller import transition
from xdplb.controller.state import NOBODY, State
from xdplb.controller.store import places_of
from xdplb.dataplane.directory import Directory
from xdplb.dataplane.source import enum_values
from xdplb.dataplane.tables import Tables, elements, fill
from xdplb.model import Protocol, Real, Service, ServiceKey
from xdplb.net import (
    Address,
    address_words,
    htons,
    outer_header_sum,
    parse_address,
    parse_prefix,
)
from xdplb.schedulers import Pick, get_scheduler

INNER_PROTOCOLS = {4: socket.IPPROTO_IPIP, 6: socket.IPPROTO_IPV6}
OUTER_PROTOCOLS = {"gre": socket.IPPROTO_GRE, "gue": socket.IPPROTO_UDP}  # else the inner one's
AT_A_TIME = 128  # services: their rings are open at once, and the kernel waits once for them
SYN_TIMEOUT_S = 60  # IPVS's for SYN_RECV: ip_vs_proto_tcp.c, tcp_timeouts[]
LOOK_AGAIN_S = 60  # after a look at all flows that found some which keep a transition going


@dataclass
class Pending:
    """What a change touches: enough to finish it, or to take it back, from the state alone.

    services: key → its place before and after; reals: places of reals that came or went; config:
    whether the timeouts changed; denied: prefixes that came or went; links: whether addresses and
    programs on interfaces are to follow the state; detach: an interface that is to be left.
    """

    services: dict[str, list[int]] = field(default_factory=dict)
    reals: list[int] = field(default_factory=list)
    config: bool = False
    denied: list[str] = field(default_factory=list)
    links: bool = False
    detach: str = ""

    @classmethod
    def of(cls, state: State) -> "Pending":
        """From what was done to the state since it was read."""
        pending = cls()
        for key, old in state.touched.items():
            sides = [side for side in (old, state.raw["services"].get(key)) if side]
            pending.services[key] = sorted({side["id"] for side in sides})
            places = [set(places_of(side)) for side in sides]
            pending.reals += sorted(places[0] ^ places[1] if len(places) > 1 else places[0])
        return pending


def boot_seconds() -> int:
    """Seconds since boot, sleep included."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))


class Reconciler:
    """Brings one director's tables to its desired state."""

    def __init__(self, tables: Tables, state: State) -> None:
        self.tables = tables
        self.state = state
        self.directory = Directory(tables)
        self._turns = elements(tables.director[0].turns)
        self._limits = elements(tables.director[0].limits)
        self._until = boot_seconds() + state.timeouts.tcp  # the end of transitions that begin now

    def all(self) -> None:
        """Everything, as for tables that were just made."""
        self.config()
        self.deny(self.state.raw["denied"])
        for vip in self.state.vips():
            self.directory.add_vip(vip)
        self.services(self.state.raw["services"])

    def pending(self, pending: Pending) -> None:
        """What a change touched. Places that are free again are as empty as they were at first."""
        if pending.config:
            self.config()
        if pending.denied:
            self.deny(pending.denied)
        services = self.state.raw["services"]
        there = {key: services[key] for key in pending.services if key in services}
        used_ids = {service["id"] for service in there.values()}
        used = {place for service in there.values() for place in places_of(service)}
        gone = pending.services.keys() - there.keys()
        vips = set(self.state.vips()) if gone else set()
        for key in gone:
            self._remove_service(ServiceKey.parse(key), vips)
        free_ids = {id_ for ids in pending.services.values() for id_ in ids} - used_ids
        self.tables.drop_rings(free_ids)
        for number in free_ids:
            self._turns[number].next = 0
            ctypes.memset(ctypes.addressof(self._limits[number]), 0, ctypes.sizeof(self._limits[0]))
        self.services(there)
        for place in pending.reals:
            if place not in used:
                self._remove_real(place, there)

    def services(self, keys: Iterable[str]) -> None:
        """Bring these services, which are there, up to date: some at a time, stage by stage."""
        each = iter(keys)
        while some := list(islice(each, AT_A_TIME)):
            self._put_services([self.state.service(ServiceKey.parse(key)) for key in some])

    def config(self) -> None:
        """Timeouts, and the flow table's secret if it has none yet."""
        config, clock = self.tables.director[0].config, self.state.clock
        t = self.state.timeouts
        seconds = {
            "FLOW_NEW": min(SYN_TIMEOUT_S, t.tcp),
            "FLOW_MIDSTREAM": t.tcp,
            "FLOW_ESTABLISHED": t.tcp,
            "FLOW_CLOSING": t.tcpfin,
            "FLOW_UDP_NEW": t.udp,
            "FLOW_UDP": t.udp,
        }
        for name, state in enum_values("flow_state").items():
            config.timeout[state] = clock.ticks(seconds.get(name, 0))
        if not config.flow_key[0]:
            config.flow_key[1] = int.from_bytes(os.urandom(8), sys.byteorder)
            config.flow_key[0] = int.from_bytes(os.urandom(8), sys.byteorder) | 1

    def deny(self, prefixes: Iterable[str]) -> None:
        """Bring these prefixes to what the state says; the program asks while it has any."""
        wanted = set(self.state.raw["denied"])
        for text in prefixes:
            follow = self.tables.deny if text in wanted else self.tables.admit
            follow(parse_prefix(text))
        self.tables.director[0].config.denying = bool(wanted)

    def _put_services(self, services: Sequence[Service]) -> None:
        for service in services:
            indices = self.state.real_indices(service.key)
            for real, index in zip(service.reals, indices, strict=True):
                self._put_real(real, index, service)
            if self.directory.find_service(service.key) is None:
                number = self.state.service_id(service.key)
                self._turns[number].next = 0
                self.tables.drop_ring(number)
        slots, rings = [], {}
        for service in services:
            used, ring = self._next_ring(service)
            slots.append(used)
            if ring is not None:
                rings[self.state.service_id(service.key)] = ring
        if rings:
            self.tables.write_rings(rings)
        for service, used in zip(services, slots, strict=True):
            pick = get_scheduler(service.scheduler).pick
            fill(
                self._limits[self.state.service_id(service.key)],
                flows=self.state.clock.per_tick(service.limit),
                source_flows=self.state.clock.per_tick(service.source_limit),
            )
            self.directory.add_vip(service.key.vip)
            self.directory.put_service(
                service.key,
                slots=used,
                id=self.state.service_id(service.key),
                pick=pick,
                flags=service_flags(service, pick),
            )

    def _put_real(self, real: Real, index: int, service: Service) -> None:
        record, number = self.tables.reals[index], self.state.service_id(service.key)
        route = self.state.raw["routes"][str(real.address)]
        rip, dip = real.address, parse_address(route["source"])
        words = record.address.high, record.address.low
        if record.service == number and words == address_words(rip):
            record.local = route["local"]
            self._put_tunnel(record, real, dip, service)
            return
        record.service = 0  # of whoever had the place before
        self.tables.real_stats.clear_cpus(index)
        record.address.high, record.address.low = address_words(rip)
        record.refreshed = 0
        record.hop[0].ifindex = record.hop[1].ifindex = 0
        fill(record, local=route["local"])
        self._put_tunnel(record, real, dip, service)
        record.service = number  # last: until now the program saw no real here

    def _put_tunnel(self, record: Any, real: Real, dip: Address, service: Service) -> None:
        """The port, then all else in one store: in between, GUE goes to a new port at worst.

        Of plain IPIP, header_sum has the source; of all others the program adds what it sends. So
        the source changes while the tunnel is none of that, and no flow has bits of its own.
        """
        kind, flags, sources = real.tunnel.kind, enum_values("tunnel_flag"), service.source_cidr
        outer_ipv6 = real.address.version == 6
        protocol = OUTER_PROTOCOLS.get(kind, INNER_PROTOCOLS[service.key.vip.version])
        summed = IPv4Address(0) if sources or kind != "ipip" else dip
        source = address_words(sources.network_address if sources else dip)
        hosts = int.from_bytes(sources.hostmask.packed[-4:], sys.byteorder) if sources else 0
        moves = (record.source.high, record.source.low, record.source_hosts) != (*source, hosts)
        new = type(record.tunnel)()
        fill(
            new,
            header_sum=0 if outer_ipv6 else outer_header_sum(summed, real.address, protocol),
            kind=enum_values("tunnel_kind")[f"TUNNEL_{kind.upper()}"],
            flags=flags["TUNNEL_CHECKSUM"] * real.tunnel.checksum
            | flags["TUNNEL_OUTER_IPV6"] * outer_ipv6
            | flags["TUNNEL_FLOW_SOURCE"] * bool(sources),
        )
        if real.tunnel.port:
            record.tunnel_port = htons(real.tunnel.port)
        tunnel = ctypes.c_uint32.from_buffer(record.tunnel)
        if moves:
            record.source_hosts = 0
            if not sources:
                record.source.high, record.source.low = source
        tunnel.value = ctypes.c_uint32.from_buffer(new).value
        if moves and sources:
            record.source.high, record.source.low = source
            record.source_hosts = hosts

    def _remove_real(self, index: int, services: Mapping[str, Any]) -> None:
        """What it was sent stays in its service's totals, which are the sums of its reals'.

        services: those that it may have belonged to.
        """
        record = self.tables.reals[index]
        for service in services.values():
            if service["id"] == record.service:
                for name, value in self.tables.real_stats.sum_cpus(index).items():
                    service["past"][name] = service["past"].get(name, 0) + value
        record.service = 0  # first: from here on the program sees no real
        ctypes.memset(ctypes.addressof(record), 0, ctypes.sizeof(record))
        self.tables.real_stats.clear_cpus(index)

    def _next_ring(self, service: Service) -> tuple[int, bytes | None]:
        """Returns: how many slots of the ring are in use, and its bytes if they change."""
        import numpy as np

        indices = self.state.real_indices(service.key)
        now = self.directory.find_service(service.key)
        pick = get_scheduler(service.scheduler).pick
        dtype = transition.slot_dtype(self.tables.ring.leaf)
        size = self.tables.ring.entries
        filled = get_scheduler(service.scheduler).fill(service, size)
        owners = np.array([0, *indices], dtype=np.uint16)[filled.owners + 1]
        live = self.tables.read_ring(self.state.service_id(service.key))
        old = np.zeros(size, dtype) if live is None else np.frombuffer(live, dtype).copy()
        turned = now is not None and now.service.pick == Pick.TURN
        has_flows = turned or old["real"].any() or old["previous"].any()
        if pick != Pick.TURN and indices and not len(owners) and has_flows:
            owners = np.full(size, NOBODY, np.uint16)  # the flows that there are go on
        ring = transition.repeat_ring(owners, size, dtype)
        flags = enum_values("slot_flag")
        reselect = np.resize(filled.reselect, size) if len(filled.owners) else np.zeros(size, bool)
        ring["flags"] = np.where(reselect, flags["SLOT_RESELECT"], 0)
        before = previous_pick(old, now, service)
        if before and service.key.protocol == Protocol.TCP:
            by_pick = enum_values("slot_previous")["PREVIOUS_BY_PICK"]
            ring = transition.change_pick(
                old, ring, indices, flags["SLOT_RECORDED"], before, by_pick
            )
            if pick == Pick.TURN and not ring["previous"].any():
                ring["flags"] = 0
        elif is_stateless(service):
            ring = transition.merge_rings(
                np.zeros(size, dtype) if turned else old,
                ring,
                reselect,
                indices,
                flags["SLOT_RECORDED"],
                flags["SLOT_RESELECT"],
            )
            if turned:  # its flows are all recorded, each in whatever slot
                ring["flags"] |= flags["SLOT_RECORDED"]
        raw = self.state.raw["services"][str(service.key)]
        changes = live is None or old.tobytes() != ring.tobytes()
        if changes:
            raw["until"] = self._until
        if not (ring["flags"] & flags["SLOT_RECORDED"]).any():
            raw["until"], raw["between"] = 0, []
        return len(owners), ring.tobytes() if changes else None

    def _remove_service(self, key: ServiceKey, vips: Collection[Address]) -> None:
        record = self.directory.find_service(key)
        if record is not None:
            self.directory.remove_service(key)
            ctypes.memset(ctypes.addressof(record), 0, ctypes.sizeof(record))
        if key.vip not in vips:
            self.directory.remove_vip(key.vip)

    def expect_transitions(self) -> None:
        """Says when the transitions of changed services will end, before any begins."""
        for key, old in self.state.touched.items():
            new = self.state.raw["services"].get(key)
            hashed = old and get_scheduler(old["scheduler"]).pick != Pick.TURN
            if (
                new
                and old
                and (
                    is_stateless(self.state.service(ServiceKey.parse(key)))
                    or hashed
                    or old["until"]
                )
            ):
                new["until"] = self._until

    def due_transitions(self) -> list[str]:
        """The services whose transitions' time is up."""
        now = boot_seconds()
        return [k for k, s in self.state.raw["services"].items() if 0 < s["until"] <= now]

    def end_transitions(self) -> list[ServiceKey]:
        """End what transitions can end. Returns: the services that have none any more."""
        due = self.due_transitions()
        if not due:
            return []
        import numpy as np

        live = live_reals(self.tables, self.state)
        flags = enum_values("slot_flag")
        dtype = transition.slot_dtype(self.tables.ring.leaf)
        ended = []
        for key in due:
            raw = self.state.raw["services"][key]
            old = np.frombuffer(self.tables.read_ring(raw["id"]), dtype)
            between = live & set(raw["between"]) & set(places_of(raw))
            new = transition.forget_pick(old, previous_picks())
            if not is_stateless(self.state.service(ServiceKey.parse(key))):
                new["flags"] = 0  # it records all flows, whatever a slot says
            new = transition.end_transitions(
                new, live, between, flags["SLOT_RECORDED"], flags["SLOT_RESELECT"]
            )
            if old.tobytes() != new.tobytes():
                self.tables.write_ring(raw["id"], new.tobytes())
            if (new["flags"] & flags["SLOT_RECORDED"]).any():
                raw["until"] = boot_seconds() + LOOK_AGAIN_S
            else:
                raw["until"], raw["between"] = 0, []
                ended.append(ServiceKey.parse(key))
        return ended


def is_stateless(service: Service) -> bool:
    """Whether its slots alone say where an established flow belongs."""
    return (
        get_scheduler(service.scheduler).pick != Pick.TURN and service.key.protocol == Protocol.TCP
    )


def previous_picks() -> int:
    """All of enum slot_flag that name a previous pick."""
    flags = enum_values("slot_flag")
    return sum(value for name, value in flags.items() if name.startswith("SLOT_PREVIOUS_"))


def previous_pick(ring: Any, now: Any, service: Service) -> int:
    """Of enum slot_flag, what the ring's pick was; 0 if that does not change, or was by turns.

    ring: as it is, of struct slot; now: the program's struct service_entry, or None. The ring says
    so itself while a change of the pick is in transition, also if its service is yet to follow.
    """
    flags, port = enum_values("slot_flag"), enum_values("service_flag")["SERVICE_HASH_PORT"]
    known = int(ring["flags"][0]) & previous_picks()
    if known or now is None or now.service.pick == Pick.TURN:
        return known
    pick = get_scheduler(service.scheduler).pick
    hash_port = bool(now.service.flags & port)
    if (now.service.pick, hash_port) == (pick, bool(service_flags(service, pick) & port)):
        return 0
    name = f"SLOT_PREVIOUS_{Pick(now.service.pick).name}"
    return flags[name] | flags["SLOT_PREVIOUS_PORT"] * hash_port


def service_flags(service: Service, pick: Pick) -> int:
    """Enum service_flag of a service."""
    flags = enum_values("service_flag")
    value = 0
    if service.flags & {"mh-port", "sh-port"}:
        value |= flags["SERVICE_HASH_PORT"]
    if service.one_packet:
        value |= flags["SERVICE_ONE_PACKET"]
    elif pick == Pick.TURN or service.key.protocol == Protocol.UDP:
        value |= flags["SERVICE_RECORDED"]
    if service.limit or service.source_limit:
        value |= flags["SERVICE_LIMITED"]
    return value


def decode_flows(tables: Tables, state: State) -> Any:
    """The live records: numpy array of fields real, state, age (seconds), shape (n,)."""
    import numpy as np

    words = np.frombuffer(tables.flows.memory, np.uint64)
    words = words[words != 0]
    states = (words >> np.uint64(32)).astype(np.uint8) & 7
    ages = (state.clock.now() - (words & np.uint64(0xFFFF)).astype(np.int64)) & 0xFFFF
    timeouts = np.array(list(tables.director[0].config.timeout))
    alive = ages < timeouts[states]
    flows = np.zeros(int(alive.sum()), [("real", "u4"), ("state", "u1"), ("age", "f4")])
    flows["real"] = (words[alive] >> np.uint64(16)).astype(np.uint32) & 0xFFFF
    flows["state"] = states[alive]
    flows["age"] = ages[alive] * state.clock.tick_s
    return flows


def live_reals(tables: Tables, state: State) -> set[int]:
    """The places of all reals that some live record points to."""
    import numpy as np

    return set(np.unique(decode_flows(tables, state)["real"]).tolist())
