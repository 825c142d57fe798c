# SPDX-License-Identifier: MIT
"""The ways to the reals: learned, kept, forgotten."""

from collections.abc import Iterable

from xdplb.director import store
from xdplb.director.instance import Instance
from xdplb.director.state import State
from xdplb.director.state_file import Damaged
from xdplb.errors import Conflict
from xdplb.host import neighbours, routes
from xdplb.model.address import parse_address
from xdplb.model.network import Hop


def learn(state: State, addresses: set[str]) -> set[Hop]:
    """Learn the ways to reals that are new. Returns: their next hops, the director's own left out.

    Raises: Conflict naming a real without a route.
    """
    new = sorted(addresses - state.routes.keys())
    if not new:
        return set()
    found, vips = routes.resolve(new), set(state.vips())
    for address, route in found.items():
        source = parse_address(route.source)
        if source.version == 6 and source in vips and not route.local:
            raise Conflict(
                f"real {address} would be sent to from the VIP {source}, not from a DIP",
                f"run: ip address change {source}/128 dev {route.device} preferred_lft 0",
            )
    state.routes.update(found)
    return hops_of(state, found)


def learn_local(state: State) -> set[str]:
    """Ask again for reals that were this host itself. Returns: those that are not any more.

    Their address may have been a VIP, which is gone. Raises: Conflict, as learn().
    """
    local = {address for address, route in state.routes.items() if route.local}
    if not local:
        return set()
    old = {address: state.routes.pop(address) for address in local}
    learn(state, local)
    return {address for address in local if state.routes[address] != old[address]}


def hops_of(state: State, addresses: Iterable[str]) -> set[Hop]:
    """The next hops on the ways to these reals, whose routes are known."""
    ways = ((address, state.routes[address]) for address in addresses)
    return {route.hop(address) for address, route in ways if not route.local}


def forget(state: State) -> set[Hop]:
    """Forget the ways to reals that are gone. Returns: the next hops that they had."""
    gone = state.routes.keys() - state.addresses()
    hops = hops_of(state, gone)
    for address in gone:
        del state.routes[address]
    return hops


def release(instance: Instance, state: State, hops: Iterable[Hop]) -> None:
    """Let the kernel forget those of these next hops that no real of this namespace needs."""
    unused = set(hops)
    if state.attached and unused:
        unused -= hops_of(state, state.routes)
    for other in instance.others() if unused else ():
        try:
            theirs = store.read_state(other)
        except Damaged:
            return  # it may need any of them
        unused -= hops_of(theirs, theirs.routes) if theirs.attached else set()
    neighbours.release_neighbours(unused)
