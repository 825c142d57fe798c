# SPDX-License-Identifier: MIT
"""Compare what the program and the reference remember.

The program's records are words: tag | two numbers | tick (bpf/flow.h, fragment.h, path.h). The tag
stands for the reference's key. It is not compared.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import reduce
from operator import and_, or_
from typing import Any

import numpy as np
from balancer import Balancer
from reference import fragment, path
from reference.director import Director

Records = Counter[tuple[int, int, int]]
ENOUGH = 40  # flows from a prefix: with so many, each bit of it differs in some of them
SHARING = 5  # flows from one GUE port: a round has few hundred, so chance gives no more


def differences(lb: Balancer, reference: Director) -> str:
    """Differences in what is remembered, and wrong choices of ports and outer sources; "": none."""
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
    return "\n".join([*said, *_narrowed(reference)])


def compare(kind: str, found: Records, wanted: Records) -> list[str]:
    """The records that one side has more often than the other."""
    differing = sorted((found - wanted) | (wanted - found))
    return [f"{kind} {each}: {found[each]}, expected {wanted[each]}" for each in differing]


def _narrowed(reference: Director) -> Iterator[str]:
    """Prefixes of outer sources where flows use only some of the bits."""
    used: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
    for (_, dip, hosts), source in reference.sources.chosen.items():
        used[dip, hosts].append(int.from_bytes(source, "big"))
    for (dip, hosts), sources in used.items():
        differing = reduce(or_, sources) & ~reduce(and_, sources)
        if len(sources) >= ENOUGH and differing != int.from_bytes(hosts, "big"):
            yield f"{len(sources)} flows, and of {dip.hex()}'s {hosts.hex()} only {differing:x}"


def _read(memory: Any, shift: int, tick: int, life: Callable[[int], int]) -> Records:
    """A table's live records. shift: the tag's; life: in ticks, by the record's first number."""
    words = np.frombuffer(memory, np.uint64)
    words = words[words != 0] & np.uint64((1 << shift) - 1)
    records = ((word >> 32, word >> 16 & 0xFFFF, word & 0xFFFF) for word in words.tolist())
    return Counter(each for each in records if (tick - each[2]) & 0xFFFF < life(each[0]))


def _flows(lb: Balancer, reference: Director) -> tuple[Records, Records]:
    """Records of (state, real, tick): the program's, the reference's."""
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
    """Records of (service, real, tick): the program's, the reference's."""
    tick, life = reference.tick, fragment.LIFE
    wanted = Counter(
        (service, place, seen & 0xFFFF)
        for place, service, seen in reference.fragments.records.values()
        if tick - seen < life
    )
    return _read(lb.tables.fragments.memory, 44, tick, lambda _: life), wanted


def _paths(lb: Balancer, reference: Director) -> tuple[Records, Records]:
    """Records of (0, MTU, tick): the program's, the reference's."""
    tick, life = reference.tick, path.LIFE
    wanted = Counter(
        (0, mtu, since & 0xFFFF)
        for mtu, since in reference.hops.paths.known.values()
        if tick - since < life
    )
    return _read(lb.tables.paths.memory, 32, tick, lambda _: life), wanted
