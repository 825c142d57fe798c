# SPDX-License-Identifier: MIT
"""Finishing what a command that was killed had begun, and what both share."""

from collections.abc import Iterable
from contextlib import ExitStack

from xdplb.director import pins
from xdplb.director.instance import Instance, read_json
from xdplb.director.state import State
from xdplb.director.table_writer import Pending, TableWriter
from xdplb.host import neighbours
from xdplb.model.network import Route


def finish(place: Instance, state: State) -> None:
    """Finish what a command that was killed had begun. Raises: NotAttached, InterfaceBusy, …"""
    raw = read_json(place.pending)
    if raw is None:
        return
    from xdplb.director import xdp_links

    pending = Pending(**raw)
    if pending.detach in state.raw["interfaces"]:
        xdp_links.withdraw(place, state, pending.detach)
    if state.attached:
        if pending.links:
            with ExitStack() as undo:
                xdp_links.settle(place, state, undo)
                undo.pop_all()
        services = state.raw["services"]
        there = [services[key] for key in pending.services if key in services]
        addresses = {address for service in there for address in service["reals"]}
        neighbours.keep_neighbours(map(state.find_route, addresses))
        TableWriter(pins.open_tables(place, state), state).pending(pending)
        forget_routes(state)
    state.write(place.state)
    place.pending.unlink()


def forget_routes(state: State) -> None:
    """Forget the ways to reals that are gone, and let go of neighbours that nobody needs now."""
    known = state.raw["routes"]
    gone = {address: state.find_route(address) for address in known.keys() - state.addresses()}
    for address in gone:
        del known[address]
    neighbours.release_neighbours(unused(gone.values(), state))


def unused(ways: Iterable[Route], state: State) -> list[Route]:
    """Those of these ways whose neighbour no real needs."""
    known = state.raw["routes"]
    shared = {(way["device"], way["via"]) for way in {id(w): w for w in known.values()}.values()}
    return [way for way in ways if (way.device, way.via) not in shared and way.via not in known]
