# SPDX-License-Identifier: MIT
"""The rings of services: the next one, and the end of transitions."""

import time
from typing import Any

from xdplb.director import ring_transition
from xdplb.director.allocation import NOBODY
from xdplb.director.state import State, Transition
from xdplb.kernel.flows import live_reals
from xdplb.kernel.program_text import enum_values
from xdplb.kernel.service_tables import ServiceTables
from xdplb.kernel.tables import Tables
from xdplb.model.schedulers import Pick, get_scheduler
from xdplb.model.service import Protocol, Service, ServiceKey

LOOK_AGAIN_S = 60  # after a look at all flows that found some which keep a transition going


def boot_seconds() -> int:
    """Seconds since boot, sleep included."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))


def is_stateless(service: Service) -> bool:
    """Whether its slots alone say where an established flow belongs."""
    return (
        get_scheduler(service.scheduler).pick != Pick.TURN and service.key.protocol == Protocol.TCP
    )


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


def previous_picks() -> int:
    """All of enum slot_flag that name a previous pick."""
    flags = enum_values("slot_flag")
    return sum(value for name, value in flags.items() if name.startswith("SLOT_PREVIOUS_"))


def previous_pick(ring: Any, now: Any, service: Service) -> int:
    """The ring's pick before the service's, as of enum slot_flag; 0 if it stays, or was by turns.

    ring: as it is, of struct slot. now: the program's struct service_entry, or None. While a change
    of the pick is in transition the ring itself names the pick, also if its service is yet to
    follow.
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


class Rings:
    """The rings of one director."""

    def __init__(self, tables: Tables, state: State, services: ServiceTables) -> None:
        self._tables = tables
        self._state = state
        self._services = services
        # When transitions that begin now may end.
        self._until = boot_seconds() + state.wanted.timeouts.tcp

    def next(self, service: Service) -> tuple[int, bytes | None]:
        """Returns: how many slots of the ring are in use, and its bytes if they change."""
        import numpy as np

        state, key = self._state, service.key
        indices = state.allocated.indices(key)
        now = self._services.find_service(key)
        pick = get_scheduler(service.scheduler).pick
        dtype = ring_transition.slot_dtype(self._tables.ring.leaf)
        size = self._tables.ring.entries
        filled = get_scheduler(service.scheduler).fill(service, size)
        owners = np.array([0, *indices], dtype=np.uint16)[filled.owners + 1]
        live = self._tables.read_ring(state.allocated.id_of(key))
        old = np.zeros(size, dtype) if live is None else np.frombuffer(live, dtype).copy()
        turned = now is not None and now.service.pick == Pick.TURN
        has_flows = turned or old["real"].any() or old["previous"].any()
        if pick != Pick.TURN and indices and not len(owners) and has_flows:
            owners = np.full(size, NOBODY, np.uint16)  # the flows that there are go on
        ring = ring_transition.repeat_ring(owners, size, dtype)
        flags = enum_values("slot_flag")
        reselect = np.resize(filled.reselect, size) if len(filled.owners) else np.zeros(size, bool)
        ring["flags"] = np.where(reselect, flags["SLOT_RESELECT"], 0)
        before = previous_pick(old, now, service)
        if before and key.protocol == Protocol.TCP:
            by_pick = enum_values("slot_previous")["PREVIOUS_BY_PICK"]
            ring = ring_transition.change_pick(
                old, ring, indices, flags["SLOT_RECORDED"], before, by_pick
            )
            if pick == Pick.TURN and not ring["previous"].any():
                ring["flags"] = 0
        elif is_stateless(service):
            ring = ring_transition.merge_rings(
                np.zeros(size, dtype) if turned else old,
                ring,
                reselect,
                indices,
                flags["SLOT_RECORDED"],
                flags["SLOT_RESELECT"],
            )
            if turned:  # its flows are all recorded, each in whatever slot
                ring["flags"] |= flags["SLOT_RECORDED"]
        changes = live is None or old.tobytes() != ring.tobytes()
        if not (ring["flags"] & flags["SLOT_RECORDED"]).any():
            state.transitions.pop(key, None)
        elif changes:
            self._begin(key)
        return len(owners), ring.tobytes() if changes else None

    def _begin(self, key: ServiceKey) -> None:
        self._state.transitions.setdefault(key, Transition(0)).until = self._until

    def expect(self) -> None:
        """Say when the transitions of changed services will end, before any begins."""
        for key, old in self._state.touched.items():
            service = self._state.wanted.services.get(key)
            if service is None or old.service is None:
                continue
            hashed = get_scheduler(old.service.scheduler).pick != Pick.TURN
            if is_stateless(service) or hashed or key in self._state.transitions:
                self._begin(key)

    def due(self) -> list[ServiceKey]:
        """The services whose transitions' time is up."""
        now = boot_seconds()
        return [key for key, each in self._state.transitions.items() if each.until <= now]

    def end_due(self) -> list[ServiceKey]:
        """End what transitions can end. Returns: the services that have none any more."""
        due = self.due()
        if not due:
            return []
        import numpy as np

        state = self._state
        live = live_reals(self._tables, state.clock)
        flags = enum_values("slot_flag")
        dtype = ring_transition.slot_dtype(self._tables.ring.leaf)
        ended = []
        for key in due:
            number, moving = state.allocated.id_of(key), state.transitions[key]
            old = np.frombuffer(self._tables.read_ring(number), dtype)
            between = live & set(moving.between) & set(state.allocated.indices(key))
            new = ring_transition.forget_pick(old, previous_picks())
            if not is_stateless(state.wanted.services[key]):
                new["flags"] = 0  # it records all flows, whatever a slot says
            new = ring_transition.end_transitions(
                new, live, between, flags["SLOT_RECORDED"], flags["SLOT_RESELECT"]
            )
            if old.tobytes() != new.tobytes():
                self._tables.write_ring(number, new.tobytes())
            if (new["flags"] & flags["SLOT_RECORDED"]).any():
                moving.until = boot_seconds() + LOOK_AGAIN_S
            else:
                del state.transitions[key]
                ended.append(key)
        return ended
