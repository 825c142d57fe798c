# SPDX-License-Identifier: MIT
"""The tables follow the state, in an order in which every step on the way forwards correctly.

Reals come first, then the ring, then the service. What goes takes the other way.
"""

import ctypes
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from itertools import islice
from typing import Any

from xdplb.director.rings import Rings, service_flags
from xdplb.director.state import State
from xdplb.kernel.byte_order import address_words, htons, outer_header_sum
from xdplb.kernel.program_text import enum_values
from xdplb.kernel.service_tables import ServiceTables
from xdplb.kernel.tables import Tables, elements, fill
from xdplb.model.address import Address, parse_address, parse_prefix
from xdplb.model.schedulers import get_scheduler
from xdplb.model.service import Real, Service, ServiceKey

INNER_PROTOCOLS = {4: socket.IPPROTO_IPIP, 6: socket.IPPROTO_IPV6}
OUTER_PROTOCOLS = {"gre": socket.IPPROTO_GRE, "gue": socket.IPPROTO_UDP}  # else the inner one's
AT_A_TIME = 128  # services: their rings are open at once, and the kernel waits once for them
SYN_TIMEOUT_S = 60  # IPVS's for SYN_RECV: ip_vs_proto_tcp.c, tcp_timeouts[]


class TableWriter:
    """Brings one director's tables to its state."""

    def __init__(self, tables: Tables, state: State) -> None:
        self.tables = tables
        self.state = state
        self.lookups = ServiceTables(tables)
        self.rings = Rings(tables, state, self.lookups)
        self._turns = elements(tables.director[0].turns)
        self._limits = elements(tables.director[0].limits)

    def all(self) -> None:
        """Write everything, as into tables that were just made."""
        self.config()
        self.deny(self.state.wanted.denied)
        for vip in self.state.vips():
            self.lookups.add_vip(vip)
        self.services(self.state.wanted.services)

    def follow(self) -> None:
        """Bring the services that were touched to what they are now."""
        state, touched = self.state, self.state.touched
        gone = [key for key in touched if key not in state.wanted.services]
        vips = set(state.vips()) if gone else set()
        for key in gone:
            self.remove_service(key)
            if key.vip not in vips:
                self.lookups.remove_vip(key.vip)
        self.free_ids({old.id for old in touched.values() if old.service})
        self.services(key for key in touched if key in state.wanted.services)
        for key, old in touched.items():
            kept = state.allocated.indices(key) if key in state.wanted.services else ()
            for index in set(old.indices) - set(kept):
                self.remove_real(index, key)

    def services(self, keys: Iterable[ServiceKey]) -> None:
        """Bring these services, which are wanted, up to date: some at a time, stage by stage."""
        each = iter(keys)
        while some := list(islice(each, AT_A_TIME)):
            self._put_services([self.state.effective(key) for key in some])

    def config(self) -> None:
        """Write the timeouts, and the flow table's secret if it has none yet."""
        config, clock = self.tables.director[0].config, self.state.clock
        t = self.state.wanted.timeouts
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
        wanted = set(self.state.wanted.denied)
        for text in prefixes:
            follow = self.tables.deny if text in wanted else self.tables.allow
            follow(parse_prefix(text))
        self.tables.director[0].config.denying = bool(wanted)

    # ---- services ----------------------------------------------------------------------------

    def _put_services(self, services: Sequence[Service]) -> None:
        for service in services:
            indices = self.state.allocated.indices(service.key)
            for real, index in zip(service.reals, indices, strict=True):
                self._put_real(real, index, service)
            if self.lookups.find_service(service.key) is None:
                number = self.state.allocated.id_of(service.key)
                self._turns[number].next = 0
                self.tables.drop_ring(number)
        slots, rings = [], {}
        for service in services:
            used, ring = self.rings.next(service)
            slots.append(used)
            if ring is not None:
                rings[self.state.allocated.id_of(service.key)] = ring
        if rings:
            self.tables.write_rings(rings)
        for service, used in zip(services, slots, strict=True):
            number = self.state.allocated.id_of(service.key)
            pick = get_scheduler(service.scheduler).pick
            fill(
                self._limits[number],
                flows=self.state.clock.per_tick(service.limit),
                source_flows=self.state.clock.per_tick(service.source_limit),
            )
            self.lookups.add_vip(service.key.vip)
            self.lookups.put_service(
                service.key, slots=used, id=number, pick=pick, flags=service_flags(service, pick)
            )

    def remove_service(self, key: ServiceKey) -> None:
        """Packets to it pass from here on. Its VIP stays."""
        record = self.lookups.find_service(key)
        if record is not None:
            self.lookups.remove_service(key)
            ctypes.memset(ctypes.addressof(record), 0, ctypes.sizeof(record))

    def free_ids(self, numbers: Iterable[int]) -> None:
        """Freed ids have no ring, and their turns and limits are zero."""
        free = set(numbers) - set(self.state.allocated.services.values())
        self.tables.drop_rings(free)
        for number in free:
            self._turns[number].next = 0
            ctypes.memset(ctypes.addressof(self._limits[number]), 0, ctypes.sizeof(self._limits[0]))

    # ---- reals -------------------------------------------------------------------------------

    def _put_real(self, real: Real, index: int, service: Service) -> None:
        record, number = self.tables.reals[index], self.state.allocated.id_of(service.key)
        route = self.state.routes[str(real.address)]
        rip, dip = real.address, parse_address(route.source)
        words = record.address.high, record.address.low
        if record.service == number and words == address_words(rip):
            record.local = route.local
            self._put_tunnel(record, real, dip, service)
            return
        record.service = 0  # of whoever had the index before
        self.tables.real_stats.clear_cpus(index)
        record.address.high, record.address.low = address_words(rip)
        record.refreshed = 0
        record.hop[0].ifindex = record.hop[1].ifindex = 0
        fill(record, local=route.local)
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

    def remove_real(self, index: int, key: ServiceKey) -> None:
        """The program sees no real of this index from here on.

        What it was sent stays in its service's totals, if that is wanted: these are sums over
        reals.
        """
        record = self.tables.reals[index]
        if record.service and self.state.allocated.services.get(key) == record.service:
            removed = self.state.removed.setdefault(key, {})
            for name, value in self.tables.real_stats.sum_cpus(index).items():
                removed[name] = removed.get(name, 0) + value
        record.service = 0
        ctypes.memset(ctypes.addressof(record), 0, ctypes.sizeof(record))
        self.tables.real_stats.clear_cpus(index)
