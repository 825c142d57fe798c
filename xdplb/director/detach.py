# SPDX-License-Identifier: MIT
"""Taking the director off an interface."""

from xdplb.director import machine, real_routes, recovery, store
from xdplb.director.instance import Instance
from xdplb.director.journal import Journal
from xdplb.director.routes import Routes
from xdplb.director.state import State
from xdplb.director.transaction import undone_if_it_fails
from xdplb.errors import NotAttached, NotFound


def detach(instance: Instance, ifname: str) -> bool:
    """Take the program off an interface, and its VIPs before it.

    With the last interface the tables go too, and with them all flows. Services and VIPs stay
    wanted, for the next attach. Returns: whether it was the last. Raises: NotFound.
    """
    not_there = NotFound(f"no director is attached to interface '{ifname}'", "see: xdplb status")
    try:
        with instance.locked():
            state = recovery.recover(instance)
            names = state.attached.interfaces if state.attached else instance.links()
            if ifname not in names:
                raise not_there
            last = state.attached is None or [*names] == [ifname]
            _detach(instance, state, ifname, last=last)
    except NotAttached:  # not even its directory is there
        raise not_there from None
    return last


def _detach(instance: Instance, state: State, ifname: str, *, last: bool) -> None:
    journal = Journal(machine=True)
    if last or state.attached is None:
        journal.hops = sorted(real_routes.hops_of(state, state.routes))
        state.attached, state.routes, state.transitions = None, Routes(), {}
    else:
        del state.attached.interfaces[ifname]
    with undone_if_it_fails(instance, journal):
        store.write_state(instance, state)
        machine.follow(instance, state, None)
        real_routes.release(instance, state, journal.hops)
        store.finish_state(instance, state)
    Journal.end(instance)
