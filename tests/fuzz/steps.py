# SPDX-License-Identifier: MIT
"""The steps other than a frame. Each can be repeated, and its repr() says what it does."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from reference import fragment, path
from reference.icmp import ANSWERS_PER_TICK

from fuzz import drawing
from fuzz.network import Network
from xdplb.model.address import Prefix
from xdplb.model.service import Service, ServiceKey

if TYPE_CHECKING:
    from fuzz.world import Directing

PLACES = 128  # indices of reals: so few that they are soon used again


@dataclass(frozen=True)
class Ticks:
    """Time passes."""

    count: int

    def do(self, world: Directing) -> None:
        world.set_tick(world.reference.tick + self.count)


@dataclass(frozen=True)
class Answered:
    """`count` ICMP answers were sent in this tick."""

    count: int

    def do(self, world: Directing) -> None:
        world.set_answers(self.count)


@dataclass(frozen=True)
class NetworkIs:
    """The network changed."""

    network: Network

    def do(self, world: Directing) -> None:
        world.set_network(self.network)


@dataclass(frozen=True)
class ServiceIs:
    """A service was added or changed. `place`: new reals get free indices from this one on."""

    service: Service
    place: int

    def do(self, world: Directing) -> None:
        world.put_service(self.service, self.place)


@dataclass(frozen=True)
class Removed:
    """A service was removed."""

    key: ServiceKey

    def do(self, world: Directing) -> None:
        world.remove_service(self.key)


@dataclass(frozen=True)
class DeniedAre:
    """The deny list was changed."""

    prefixes: frozenset[Prefix]

    def do(self, world: Directing) -> None:
        world.set_denied(self.prefixes)


@dataclass(frozen=True)
class TransitionsEnd:
    """The time of all transitions is up."""

    def do(self, world: Directing) -> None:
        world.end_transitions()


Event = Ticks | Answered | NetworkIs | ServiceIs | Removed | DeniedAre | TransitionsEnd


def draw(random: Random, world: Directing) -> Event:
    """A random next step."""
    dice = random.random()
    if dice < 0.80:
        return Ticks(_ticks(random, world))
    if dice < 0.84:
        return Answered(ANSWERS_PER_TICK - random.randint(0, 2))
    if dice < 0.93:
        return NetworkIs(random.choice(world.network.variants()))
    if dice < 0.94:
        return TransitionsEnd()
    if dice < 0.96:
        return DeniedAre(drawing.denied(random))
    return change_service(random, world)


def change_service(random: Random, world: Directing) -> Event:
    """Add, remove or change a service. A removed real's index may be used again at once."""
    key = random.choice(drawing.KEYS)
    state = world.lb.state
    losable = world.network.lost != "route"
    if key in state.wanted.services and random.random() < 0.15:
        return Removed(key)
    if key in state.wanted.services:
        service = drawing.changed(random, state.wanted.services[key], losable)
    else:
        service = drawing.service(random, key, drawing.addable(losable))
    return ServiceIs(service, random.choice(_lost_places(world) or [1]))


def _lost_places(world: Directing) -> list[int]:
    """Indices of removed reals that records still name."""
    reference = world.reference
    named = {flow.real for flow in reference.flows.records.values()}
    named |= {place for place, _, _ in reference.fragments.records.values()}
    return sorted(place for place in named - reference.content.reals.keys() if place < PLACES)


def _ticks(random: Random, world: Directing) -> int:
    """Mostly few ticks; sometimes up to a record's end, or one tick more or less."""
    if random.random() < 0.8:
        return random.randint(1, 5)
    tick = world.reference.tick
    ends = [end for end in _ends(random, world) if end > tick]
    if not ends or random.random() < 0.3:
        return random.randint(1, 300)
    return max(1, random.choice(ends) - tick + random.choice((-1, 0, 1)))


def _ends(random: Random, world: Directing) -> list[int]:
    """The ticks when records of one kind expire."""
    reference = world.reference
    flows = reference.flows
    kind = random.choice(("flow", "flow", "fragment", "path"))
    if kind == "flow":
        return [flow.seen + flows.timeouts[flow.state] for flow in flows.records.values()]
    if kind == "fragment":
        return [seen + fragment.LIFE for _, _, seen in reference.fragments.records.values()]
    return [since + path.LIFE for _, since in reference.hops.paths.known.values()]
