# SPDX-License-Identifier: MIT
"""Which real a packet goes to: docs/architecture.md, "Why `mh` needs no records"; docs/fidelity.md.

The hashes are the kernel's, by way of xdplb.model.schedulers. Tests hold these to ip_vs_mh.c and
ip_vs_sh.c.
"""

from collections import Counter
from functools import lru_cache

from reference.content import Content, Service, Slot
from reference.flow import NEW, Flows, key_of, see
from reference.limit import Limits
from reference.packet import Packet
from reference.verdict import goes_up, is_lost
from xdplb.model.schedulers.mh import MAX_TRIES, OFFSET_KEY
from xdplb.model.schedulers.sh import GOLDEN_RATIO_32
from xdplb.model.schedulers.siphash import hsiphash_1u32

TURN, MH, SH = "turn", "mh", "sh"
M32 = 0xFFFF_FFFF


@lru_cache(maxsize=1 << 16)
def mh_hash(key: int) -> int:
    """ip_vs_mh_hashkey()."""
    return hsiphash_1u32(key & M32, OFFSET_KEY)


def fold(address: bytes) -> int:
    """The 32-bit words of an address, XORed. IPv4 has one."""
    folded = 0
    for at in range(0, len(address), 4):
        folded ^= int.from_bytes(address[at : at + 4], "big")
    return folded


def hashed_slot(p: Packet, service: Service) -> Slot:
    """The client's slot. If it is marked, the client gets another: ip_vs_mh_get_fallback()."""
    ring = service.ring
    key = fold(p.client) + (p.client_port if service.hash_port else 0)
    if service.pick == SH:
        index = ((key & M32) * GOLDEN_RATIO_32 & M32) >> 24
    else:
        index = mh_hash(key) % len(ring)
    slot = ring[index]
    if not slot.reselect:
        return slot
    tries = (ring[mh_hash(key + (index + n) % len(ring)) % len(ring)] for n in range(MAX_TRIES))
    chosen = next((other for other in tries if not other.reselect), slot)
    return slot._replace(real=chosen.real)


class Scheduler:
    """The turns, and the recorded flows."""

    def __init__(self, flows: Flows) -> None:
        self.flows = flows
        self.turns: Counter[int] = Counter()
        self.limits = Limits()

    def forget(self, service: int) -> None:
        """A service was removed."""
        self.turns.pop(service, None)
        self.limits.services.pop(service, None)

    def next_slot(self, service: Service) -> Slot:
        """Rr and wrr: the next slot, for any client."""
        if not service.slots:
            raise is_lost("no_real")
        slot = service.ring[self.turns[service.id] % service.slots]
        self.turns[service.id] += 1
        return self._owned(slot)

    @staticmethod
    def _owned(slot: Slot) -> Slot:
        if not slot.real:
            raise is_lost("no_real")
        return slot

    def pick_real(self, p: Packet, service: Service, content: Content, tick: int) -> int:
        """The index of the flow's real, else of its slot's real."""
        slot = None
        if service.pick != TURN:
            slot = self._owned(hashed_slot(p, service))
        elif service.one_packet:
            if p.error:
                raise goes_up("icmp")
            slot = self.next_slot(service)
        if service.recorded or (slot and slot.recorded):
            place = self._recorded(p, service, slot, content, tick)
        else:
            assert slot
            place, p.new_flow = slot.real, p.begins
            if p.new_flow:
                self.limits.admit(p, service, content, tick)
        if not _is_there(place, service, content):
            raise is_lost("no_real")
        return place

    def _recorded(
        self, p: Packet, service: Service, slot: Slot | None, content: Content, tick: int
    ) -> int:
        """A packet follows its flow's record. A packet without a record gets one.

        A SYN follows only a *new* record, as a retransmission; else it begins a flow. TCP in
        midstream without a record goes to the previous owner, or passes with rr and wrr. An ICMP
        error changes no record.
        """
        key = key_of(p, service.id)
        flow = self.flows.find(key, tick)
        if flow and (not p.opens or flow.state == NEW) and _is_there(flow.real, service, content):
            if not p.error:
                see(flow, p, tick)
            return flow.real
        if p.begins:
            self.limits.admit(p, service, content, tick)
        if slot is None:
            if not p.begins:
                raise goes_up("no_flow")
            slot = self.next_slot(service)
        place = slot.real if p.begins else slot.previous or slot.real
        p.new_flow = p.begins
        if not p.error:
            self.flows.begin(key, p, place, tick)
        return place


def _is_there(place: int, service: Service, content: Content) -> bool:
    """Whether a real of this service has the index; another service's may have it, or none."""
    real = content.reals.get(place)
    return real is not None and real.service == service.id
