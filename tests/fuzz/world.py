# SPDX-License-Identifier: MIT
"""The real director and the reference, side by side: the same tables, the same frames.

A step is: a frame arrives, time passes, or a service or the network changes.
"""

from collections.abc import Iterator
from functools import lru_cache
from random import Random
from socket import if_nametoindex
from typing import Any

import numpy as np
from balancer import Balancer
from network import SECOND_IFNAME
from reference.content import Content, Real, Service, Slot, Tunnel
from reference.director import Director
from reference.packet import Packet
from reference.verdict import Verdict

from fuzz import drawing, frames, steps
from fuzz.arrival import Arrives, Disagreement, Judge
from fuzz.clients import Clients
from fuzz.edges import edge
from fuzz.memory import differences
from fuzz.network import JUMBO_MTU, MTU, Network
from fuzz.runner import LINEAR, Runner
from xdplb.kernel.byte_order import address_of_words
from xdplb.kernel.program_text import enum_values
from xdplb.kernel.service_tables import ServiceTables
from xdplb.kernel.tables import elements
from xdplb.model import service, tunnel
from xdplb.model.address import Prefix, parse_prefix, sort_prefixes
from xdplb.model.schedulers import Pick, get_scheduler
from xdplb.model.tunables import Tunables

# The program's jiffies are a number in memory: the first turn, which no service uses.
CLOCK = "-Dbpf_jiffies64()=(((struct director *)VALUE(DIRECT_DIRECTOR))->turns.first.next)"
TUNABLES = Tunables(
    max_reals=steps.PLACES, ring_slots=509, flow_buckets=1 << 15, source_tallies=1 << 12
)
FIRST_TICK = 0xF000  # records hold 16 bits of it: these wrap during a round
EVENTS, EDGES = 1 / 100, 1 / 50  # of all steps
BURSTS = 2 / 3  # the chance that another change of a service follows at once


@lru_cache(maxsize=64)
def read_slots(ring: bytes, slot: type) -> list[Slot]:
    """A ring's; most rings are as they were when they were read the last time."""
    flags, by_pick = enum_values("slot_flag"), enum_values("slot_previous")["PREVIOUS_BY_PICK"]
    return [
        Slot(
            real,
            of_pick if previous == by_pick else previous,
            bool(flag & flags["SLOT_RECORDED"]),
            bool(flag & flags["SLOT_RESELECT"]),
            "mh" * bool(flag & flags["SLOT_PREVIOUS_MH"])
            + "sh" * bool(flag & flags["SLOT_PREVIOUS_SH"]),
            bool(flag & flags["SLOT_PREVIOUS_PORT"]),
        )
        for real, previous, flag, of_pick in np.frombuffer(ring, np.dtype(slot)).tolist()
    ]


class Directing:
    """A Balancer, run on one CPU, and its reference."""

    program = "xdplb"

    def __init__(self, lb: Balancer, cpu: int) -> None:
        self.lb = lb
        self.runner = Runner(lb.fd)
        mine = lb.tables.cpus[cpu]
        self._limit = mine.reply_limit
        self.counters = [name for name, _ in type(mine.counters)._fields_]
        counters = memoryview(mine.counters).cast("B").cast("Q")
        self._judge = Judge(self.counters, counters.tolist)
        self.mtus = {lb.ifindex: MTU, if_nametoindex(SECOND_IFNAME): JUMBO_MTU}
        self._clock = elements(lb.tables.director[0].turns)[0]

    # ---- the beginning -----------------------------------------------------------------------

    def begin(self, random: Random) -> None:
        """Empty the tables, and add random services."""
        self.lb.reset()
        self.lb.tables.drop_rings(range(1, len(drawing.KEYS) + 1))  # one by one is slower
        self.lb.tables.director[0].config.flow_key[0] = random.getrandbits(64) | 1
        self.lb.tables.director[0].config.flow_key[1] = random.getrandbits(64)
        self.network = Network.begin()
        for vip in drawing.IDLE_VIPS:
            self.lb.attach_vip(vip)
        self.lb.put_services(drawing.services(random))
        self.reference = Director(self._read_content(), FIRST_TICK)
        self.set_tick(FIRST_TICK)
        self._forwarded: tuple[bytes, bytes] | None = None
        self._judge.begin()

    def set_tick(self, tick: int) -> None:
        """Set both clocks."""
        self.reference.tick = tick
        self._clock.next = tick << self.lb.clock.shift

    def jiffies(self) -> int:
        """The clock that Python takes for the kernel's."""
        return int(self._clock.next) & 0xFFFF_FFFF

    def set_answers(self, sent: int) -> None:
        """Set the number of ICMP answers that were sent in this tick."""
        self._limit.tick = self.reference.answers.tick = self.reference.tick
        self._limit.sent = self.reference.answers.sent = sent

    def set_network(self, network: Network) -> None:
        """Change the network."""
        self.network.become(network)
        self.lb.tables.put_vlans(network.vlans())
        self.network = network
        self.reference.content.network = network.ways()

    def put_service(self, service: service.Service, place: int) -> None:
        """Add or change a service. Its new reals get the free indices from `place` on.

        (By default, an index is used again only after all others.)
        """
        with self.lb.rewriting_state() as state:
            state.allocated.next_real = TUNABLES.max_reals + place
        self.lb.put_services([service])
        self.lb.tables.put_vlans(self.network.vlans())  # the director replaced them for a new real
        self.reference.change(self._read_content())

    def remove_service(self, key: service.ServiceKey) -> None:
        """Remove a service."""
        self.lb.remove_service(key)
        self.reference.change(self._read_content())

    def set_denied(self, prefixes: frozenset[Prefix]) -> None:
        """Replace the deny list."""
        old = frozenset(map(parse_prefix, self.lb.state.wanted.denied))
        self.lb.director.allow(sort_prefixes(old - prefixes))
        self.lb.director.deny(sort_prefixes(prefixes - old))
        self.reference.change(self._read_content())

    def end_transitions(self) -> None:
        """End the transitions that can end."""
        self.lb.end_transitions()
        self.reference.change(self._read_content())

    def steps(self, random: Random) -> Iterator[Any]:
        """Frames, and sometimes another step."""
        clients = Clients(random, drawing.ends())
        jumbo = if_nametoindex(SECOND_IFNAME)
        yield from (Arrives(cut, self.lb.ifindex) for cut in frames.lengths(clients.packet()))
        while True:
            if random.random() < EVENTS:
                event = steps.draw(random, self)
                yield event
                while isinstance(event, steps.ServiceIs) and random.random() < BURSTS:
                    event = steps.change_service(random, self)
                    yield event
            if random.random() < EDGES and self._forwarded:
                yield Arrives(edge(random, *self._forwarded), self.lb.ifindex)
            frame = clients.frame()
            comes_by_jumbo = random.random() < (0.5 if len(frame) > MTU else 0.1)
            yield Arrives(frame, jumbo if comes_by_jumbo else self.lb.ifindex)

    # ---- what the tables hold ----------------------------------------------------------------

    def _read_content(self) -> Content:
        state = self.lb.state
        timeouts = self.lb.tables.director[0].config.timeout
        reals: dict[int, Real] = {}
        services = {}
        for key in state.wanted.services:
            wanted = state.wanted.services[key]
            services[key.vip.packed, int(key.protocol), key.port] = self._read_service(wanted)
            for place, real in zip(state.allocated.indices(key), wanted.reals, strict=True):
                reals[place] = self._read_real(place, real.tunnel, wanted.source_cidr)
        return Content(
            {vip.packed for vip in state.vips()},
            services,
            reals,
            {name.removeprefix("FLOW_"): int(timeouts[n]) for name, n in self.lb.states.items()},
            [parse_prefix(prefix) for prefix in state.wanted.denied],
            tuple(self.lb.tables.director[0].config.flow_key),
            TUNABLES.source_tallies.bit_length() - 1,
            self.network.ways(),
        )

    def _read_service(self, wanted: service.Service) -> Service:
        """A service for the reference: its kind as configured, its ring as in the table."""
        tables = self.lb.tables
        entry = ServiceTables(tables).find_service(wanted.key).service
        limit = elements(tables.director[0].limits)[entry.id]
        pick = get_scheduler(wanted.scheduler).pick
        every_flow = pick == Pick.TURN or wanted.key.protocol == service.Protocol.UDP
        return Service(
            id=entry.id,
            pick=pick.name.lower(),
            hash_port=bool(wanted.flags & {"mh-port", "sh-port"}),
            one_packet=wanted.one_packet,
            recorded=every_flow and not wanted.one_packet,
            slots=entry.slots,
            ring=read_slots(bytes(tables.read_ring(entry.id)), tables.ring.leaf),
            limit=limit.flows,
            source_limit=limit.source_flows,
        )

    def _read_real(self, place: int, tunnel: tunnel.Tunnel, sources: Prefix | None) -> Real:
        real = self.lb.tables.reals[place]
        rip, dip = (address_of_words(a.high, a.low) for a in (real.address, real.source))
        hosts = bytes(4)
        if sources is not None:
            dip, hosts = sources.network_address, sources.hostmask.packed
        wrapped = Tunnel(tunnel.kind, tunnel.port, tunnel.checksum)
        return Real(rip.packed, dip.packed, real.service, bool(real.local), hosts, wrapped)

    # ---- comparing ---------------------------------------------------------------------------

    def arrive(self, frame: bytes, ifindex: int) -> Verdict | Disagreement:
        """A frame comes in. Returns: its verdict, if both agree about it."""
        action, sent = self.runner.run(frame, ifindex)
        p = Packet(frame, ifindex, self.mtus[ifindex], LINEAR)
        verdict = self.reference.handle(p, sent)
        if verdict.counter == "forwarded":
            self._forwarded = frame, sent
        return self._judge.judge(frame, verdict, action, sent)

    def check_memory(self) -> str:
        """Whether both remember the same. Returns: what differs."""
        return differences(self.lb, self.reference)
