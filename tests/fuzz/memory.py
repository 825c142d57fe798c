# SPDX-License-Identifier: MIT
"""What program and reference remember, side by side.

The program's records are words: tag | two numbers | tick (bpf/flow.h, fragment.h, path.h). What
the tag says is the reference's key; here nobody asks for it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from balancer import Balancer
from reference import fragment, path
from reference.director import Director

Records = Counter[tuple[int, int, int]]
SHARING = 5  # flows of a round's few hundred: one of GUE's ports has no more by chance


def differences(lb: Balancer, reference: Director) -> str:
    """Flows, fragments, paths, statistics and ports that are not what they should be."""
    said = [
        *compare("flow", *_flows(lb, reference)),
        *compare("fragment", *_fragments(lb, reference)),
        *compare("path", *_paths(lb, reference)),
    ]
    for place, real in reference.content.reals.items():
        counted = list(lb.tables.real_stats.sum_cpus(place).values())
        expected = reference.stats[place]
        if counted != expected:
            said.append(f"{real}: counted {counted}, expected {expected}")
    ports = Counter(reference.ports.chosen.values())
    said += [f"{n} flows from port {port}" for port, n in ports.items() if n > SHARING]
    return "\n".join(said)


def compare(kind: str, found: Records, wanted: Records) -> list[str]:
    """What one side has more often than the other."""
    differing = sorted((found - wanted) | (wanted - found))
    return [f"{kind} {each}: {found[each]}, expected {wanted[each]}" for each in differing]


def _read(memory: Any, shift: int, tick: int, life: Callable[[int], int]) -> Records:
    """A table's live records. shift: of the tag; life: in ticks, by the first number."""
    words = np.frombuffer(memory, np.uint64)
    words = words[words != 0] & np.uint64((1 << shift) - 1)
    records = ((word >> 32, word >> 16 & 0xFFFF, word & 0xFFFF) for word in words.tolist())
    return Counter(each for each in records if (tick - each[2]) & 0xFFFF < life(each[0]))


def _flows(lb: Balancer, reference: Director) -> tuple[Records, Records]:
    """State, real, tick."""
    flows, tick = reference.flows, reference.tick
    numbers = {name.removeprefix("FLOW_"): number for name, number in lb.states.items()}
    lives = {numbers[name]: ticks for name, ticks in flows.timeouts.items()}
    wanted = Counter(
        (numbers[flow.state], flow.real, flow.seen & 0xFFFF)
        for flow in flows.records.values()
        if flows.is_alive(flow, tick)
    )
    return _read(lb.tables.flows.memory, 35, tick, lives.__getitem__), wanted


def _fragments(lb: Balancer, reference: Director) -> tuple[Records, Records]:
    """Service, real, tick."""
    tick, life = reference.tick, fragment.LIFE
    wanted = Counter(
        (service, place, seen & 0xFFFF)
        for place, service, seen in reference.fragments.records.values()
        if tick - seen < life
    )
    return _read(lb.tables.fragments.memory, 44, tick, lambda _: life), wanted


def _paths(lb: Balancer, reference: Director) -> tuple[Records, Records]:
    """0, MTU, tick."""
    tick, life = reference.tick, path.LIFE
    wanted = Counter(
        (0, mtu, since & 0xFFFF)
        for mtu, since in reference.hops.paths.known.values()
        if tick - since < life
    )
    return _read(lb.tables.paths.memory, 32, tick, lambda _: life), wanted
