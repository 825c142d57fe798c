# SPDX-License-Identifier: MIT
"""Times packets through programs.

A packet's cost is the time of wrapper → target less the time of wrapper → `bounce` (see wrapper.c).
Both are from one round of alternating runs. The time is the thread's CPU time. Other processes on
this core do not add to it, but they disturb its caches, and the core's other thread slows it down.
So there is a second figure beside the median: `quiet`, the difference of the fastest tenths.

One bias remains. The target makes the frame longer by the outer header. So before the target the
wrapper moves the head by 20 bytes or more, and before `bounce` by 0, which is the same code. The
wrapper's tail call is an indirect jump (a retpoline if the kernel needs one), so little of its
work overlaps with the target's.
"""

import ctypes
import os
import random
import socket
import statistics
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from frames import ACK, SYN, Order, Piece, Stream, floor_flags, prepended, wrapped
from rig import HERE, Director

from xdplb.kernel import libbpf, loader, program_cache, program_text
from xdplb.kernel.tables import decode_type, fill, map_memory

OWN = ("bounce", "prepend", "remember")
BOUNCE, PREPEND, REMEMBER, FIRST_TARGET = range(4)  # indices in the wrapper's table of targets


class Wrapper:
    """The loaded wrapper.c, and the programs that it can call."""

    def __init__(self, idle: str = "bench2") -> None:
        """idle: an interface that is down and unused."""
        self.ifindex = socket.if_nametoindex("bench0")
        frame = Stream(Order.FIXED).frame()
        flags = floor_flags(len(frame[14:]))
        source = program_text.read_source("wrapper.c", ("wrap", *OWN), flags, HERE)
        self._program = loader.load(program_cache.compiled(source))
        # Attached anywhere, it keeps its place in the XDP dispatcher: else each run would rewrite
        # the kernel's text twice, 20 ms.
        self._link = libbpf.link_create(
            self._program.fd, socket.if_nametoindex(idle), libbpf.XDP_FLAGS_SKB_MODE
        )
        self._targets_fd = self._program.maps["targets"]
        leaf = decode_type(self._program.tables["plans"]["leaf"])
        self._plan = map_memory(self._program.maps["plans"], leaf, 1)[0]
        own = [self._program.functions[name] for name in OWN]
        for place, fd in enumerate(own):
            self.set_target(place, fd)
        got = libbpf.prog_test_run(own[PREPEND], frame)
        wanted = prepended(len(frame[14:])) + frame[14:]
        assert got.frame == wanted, "the floor writes a wrong header"

    def set_target(self, place: int, fd: int) -> None:
        """Makes a program callable by a number."""
        libbpf.map_update(self._targets_fd, ctypes.c_uint32(place), ctypes.c_uint32(fd))

    def run(self, target: int, stream: Stream, packets: int, state: int = 0) -> float:
        """Sends packets through a target. Returns: ns per packet, including the wrapper's own."""
        frame = stream.frame()
        client_at, word_at, ports_at = stream.places()
        fill(
            self._plan,
            before_client=int.from_bytes(frame[client_at : client_at + 4], "little"),
            word=int.from_bytes(frame[word_at : word_at + 4], "big") - (stream.first_service >> 3),
            client_at=client_at,
            word_at=word_at,
            ports_at=ports_at,
            length=len(frame),
            target=target,
            order=stream.order,
            flows=stream.flows,
            services=stream.services,
            first_service=stream.first_service,
            state=state,
        )
        self._plan.link[:] = struct.unpack("<QQ", frame[:16])
        before = time.thread_time_ns()
        libbpf.prog_test_run(self._program.fd, frame, ifindex=self.ifindex, repeat=packets)
        return (time.thread_time_ns() - before) / packets

    def close(self) -> None:
        """Detaches and unloads the wrapper."""
        os.close(self._link)
        self._program.close()

    def state(self) -> int:
        """The stream's position. The next run continues from it."""
        return int(self._plan.state)


@dataclass(frozen=True)
class Measured:
    """The costs of a target and of the floors in all rounds: ns per packet, without the wrapper."""

    ns: list[float]
    floor: list[float]
    remember: list[float]
    wrapper: list[float]

    def quiet(self, values: list[float]) -> float:
        """The cost while the machine does nothing else; ns per packet."""
        both = [value + alone for value, alone in zip(values, self.wrapper, strict=True)]
        return _fast(both) - _fast(self.wrapper)

    def row(self) -> dict[str, Any]:
        """Medians and quartiles, for the results."""
        ns, floor = statistics.median(self.ns), statistics.median(self.floor)
        quiet, quiet_floor = self.quiet(self.ns), self.quiet(self.floor)
        return {
            "ns": round(ns, 2),
            "floor_ns": round(floor, 2),
            "ratio": round(ns / floor, 3),
            "ns_quartiles": _quartiles(self.ns),
            "floor_quartiles": _quartiles(self.floor),
            "remember_ns": round(statistics.median(self.remember), 2),
            "quiet_ns": round(quiet, 2),
            "quiet_floor_ns": round(quiet_floor, 2),
            "quiet_ratio": round(quiet / quiet_floor, 3),
            "wrapper_ns": round(statistics.median(self.wrapper), 2),
            "rounds": len(self.ns),
        }


def difference(lives: Sequence[tuple[Measured, Measured]]) -> list[float]:
    """How much more the first costs in each life: the median over its rounds, sorted."""
    return sorted(float(np.median(np.subtract(mine.ns, other.ns))) for mine, other in lives)


def pooled(lives: Sequence[Measured]) -> Measured:
    """The rounds of all lives as one."""
    return Measured(
        list(chain.from_iterable(life.ns for life in lives)),
        list(chain.from_iterable(life.floor for life in lives)),
        list(chain.from_iterable(life.remember for life in lives)),
        list(chain.from_iterable(life.wrapper for life in lives)),
    )


def _fast(values: Sequence[float]) -> float:
    return float(np.percentile(values, 10))


def _quartiles(values: Sequence[float]) -> list[float]:
    if len(values) < 2:
        return [round(values[0], 2)] * 2
    low, _, high = statistics.quantiles(values, n=4)
    return [round(low, 2), round(high, 2)]


@dataclass(frozen=True)
class Case:
    """A stream of packets, its preparation, and the counter in which each packet must end.

    beside: the plainer case that it is compared with. Runs are short and rounds are many, so that
    other load on the machine slows all targets of a round alike.
    """

    stream: Stream
    prepare: Callable[[Wrapper, int, Director], None] = lambda *_: None
    counter: str = "forwarded"
    rounds: int = 501
    packets: int = 30_000
    beside: str | None = None


def establish(stream: Stream) -> Callable[[Wrapper, int, Director], None]:
    """Prepares a case: sends a SYN and an ACK of each flow."""

    def prepare(wrapper: Wrapper, target: int, director: Director) -> None:
        for flags in (SYN, ACK):
            each = replace(stream, order=Order.SEQUENTIAL, flags=flags)
            wrapper.run(target, each, stream.flows)

    return prepare


def begin(stream: Stream) -> Callable[[Wrapper, int, Director], None]:
    """Prepares a case of later fragments: sends the first fragment of each packet."""

    def prepare(wrapper: Wrapper, target: int, director: Director) -> None:
        first = replace(stream, order=Order.SEQUENTIAL, piece=Piece.FIRST)
        wrapper.run(target, first, stream.flows)

    return prepare


def flood(service: int) -> Callable[[Wrapper, int, Director], None]:
    """Prepares a case: fills the flow table with SYNs of other flows."""

    def prepare(wrapper: Wrapper, target: int, director: Director) -> None:
        places = director.tables.flows.entries * 8
        stream = Stream(Order.SEQUENTIAL, 0, SYN, service)
        wrapper.run(target, stream, places * 3 // 2, 1 << 31)

    return prepare


def mistake(wrapper: Wrapper, director: Director, case: Case) -> str | None:
    """Says what is wrong with one packet's result, if anything: timing drops would be useless."""
    frame = case.stream.frame()
    before = director.counted
    got = libbpf.prog_test_run(director.fd, frame, ifindex=wrapper.ifindex)
    moved = {name: n - before[name] for name, n in director.counted.items() if n != before[name]}
    if moved != {case.counter: 1}:
        return f"a packet was counted as {moved}"
    action, wanted = "XDP_PASS", frame
    if case.counter == "forwarded":
        service = director.services[case.stream.first_service]
        action, wanted = "XDP_TX", wrapped(frame, service, got.frame)
    right = (libbpf.XDP_ACTIONS.index(action), wanted) == (got.action, got.frame)
    return None if right else f"a packet is not what {action} should leave"


def measure(wrapper: Wrapper, directors: Sequence[Director], case: Case) -> list[Measured]:
    """Measures a case on all directors, the floor and the wrapper alone, in alternation.

    The first one must treat the case's packets right. Of the others those that do not are left out:
    older trees.
    """
    able = []
    for director in directors:
        target = FIRST_TARGET + len(able)
        director.forget_flows()
        wrapper.set_target(target, director.fd)
        case.prepare(wrapper, target, director)
        wrong = mistake(wrapper, director, case)
        assert able or not wrong, wrong
        if not wrong:
            able.append(director)
            wrapper.run(target, case.stream, max(case.packets, min(case.stream.flows, 1 << 22)))
    targets = range(FIRST_TARGET, FIRST_TARGET + len(able))
    before = [director.counted[case.counter] for director in able]
    times = alternate(wrapper, [BOUNCE, PREPEND, REMEMBER, *targets], case)
    for director, old in zip(able, before, strict=True):
        share = (director.counted[case.counter] - old) / case.rounds / case.packets
        assert share > 0.999, f"only {share:.1%} of the packets were counted {case.counter}"
    alone = times[BOUNCE]
    net = {
        target: [mine - none for mine, none in zip(times[target], alone, strict=True)]
        for target in (PREPEND, REMEMBER, *targets)
    }
    return [Measured(net[target], net[PREPEND], net[REMEMBER], alone) for target in targets]


def alternate(wrapper: Wrapper, targets: Sequence[int], case: Case) -> dict[int, list[float]]:
    """Times all targets in each round, in random order. By target: ns per packet of each round."""
    states = dict.fromkeys(targets, 1)
    times: dict[int, list[float]] = {target: [] for target in targets}
    for _ in range(case.rounds):
        for target in random.sample(targets, len(targets)):
            times[target].append(wrapper.run(target, case.stream, case.packets, states[target]))
            states[target] = wrapper.state()
    return times
