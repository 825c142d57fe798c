# SPDX-License-Identifier: MIT
"""Instructions per packet: of IPVS, of xdplb, and of the rig around them. Run in the guest.

QEMU counts instructions (-icount shift=0): each takes one nanosecond of the guest's time. So a
packet's cost is measured as a time. It is the same in the first four digits at each run, whatever
the host does. A packet that is dropped where the director would take it costs as much as the rig:
this is subtracted.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ipvs_rig import ACK, SYN, TCP, UDP, Rig, Service, balance, rig

PACKETS, ROUNDS = 4000, 3
MANY = 1 << 16
FRESH = 1 << 20  # flows from this number on are new

FEW, LOTS = 2, 200
SERVICES = {
    (scheduler, protocol, reals): Service(number, scheduler, protocol, reals)
    for number, (scheduler, protocol, reals) in enumerate(
        (scheduler, protocol, reals)
        for reals in (FEW, LOTS)
        for protocol in (UDP, TCP)
        for scheduler in ("rr", "mh")
    )
}
NAMES = {UDP: "udp", TCP: "tcp"}
OTHERS = [64, 512]  # numbers of services, to see whether the number matters


@dataclass(frozen=True)
class Case:
    """Packets of some flows to a service. flows 0: each packet has a new flow."""

    service: Service
    flows: int
    services: int = len(SERVICES)

    @property
    def name(self) -> str:
        """The case's name, such as rr-udp-64k, mh-tcp-new-200r, rr-udp-1-512s."""
        flows = {0: "new", MANY: "64k"}.get(self.flows, str(self.flows))
        reals = "" if self.service.reals == FEW else f"-{self.service.reals}r"
        services = "" if self.services == len(SERVICES) else f"-{self.services}s"
        return f"{self.service.scheduler}-{NAMES[self.service.protocol]}-{flows}{reals}{services}"


def cases() -> list[Case]:
    """All cases, without those for OTHERS."""
    few = [SERVICES[s, p, FEW] for p in (UDP, TCP) for s in ("rr", "mh")]
    lots = [SERVICES[s, p, LOTS] for p in (UDP, TCP) for s in ("rr", "mh")]
    found = [Case(service, flows) for service in few for flows in (1, MANY, 0)]
    found += [Case(service, flows) for service in lots for flows in (1, 0)]
    return found + [Case(SERVICES["rr", UDP, FEW], flows) for flows in (64, 1024, 8192)]


class Bench:
    """Sends, and counts instructions."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.fresh = FRESH

    def insns(self, director: str, case: Case) -> float:
        """Instructions of one packet from sender to sink. Raises: AssertionError if one is lost."""
        ends = self.rig.ends
        self.rig.put(director)
        if director in ("ipvs", "xdplb"):
            self._establish(case)
        flags = ACK if case.flows else SYN
        ends.plan(case.service, case.flows, flags, self._first(case), astray=director == "skb")
        ends.send(64)
        taken = []
        for _ in range(ROUNDS):
            before, start = self.rig.arrived(), time.perf_counter_ns()
            ends.send(PACKETS)
            taken.append((time.perf_counter_ns() - start) / PACKETS)
            arrived = self.rig.arrived() - before
            assert arrived == PACKETS, f"{case.name}: {arrived} of {PACKETS} through {director}"
        return statistics.median(taken)

    def _first(self, case: Case) -> int:
        if case.flows:
            return 0
        self.fresh += 1 << 16
        return self.fresh

    def _establish(self, case: Case) -> None:
        for flags in (SYN, ACK) if case.service.protocol == TCP else (ACK,):
            if case.flows:
                self.rig.ends.plan(case.service, case.flows, flags)
                self.rig.ends.send(case.flows)

    def row(self, case: Case) -> dict[str, Any]:
        """A case's row in the results."""
        drop = self.insns("drop", case)
        net = {
            name: round(self.insns(name, case) - drop)
            for name in ("prepend", "skb", "ipvs", "ipvs-xdp-sink", "xdplb")
        }
        return {
            "case": case.name,
            "ipvs_insns": net["ipvs"],
            "xdplb_insns": net["xdplb"],
            "drop_insns": round(drop),
            "ratio": round(net["ipvs"] / net["xdplb"], 2),
            "prepend_insns": net["prepend"],
            "skb_insns": net["skb"],
            "ipvs_xdp_sink_insns": net["ipvs-xdp-sink"],
        }


def measure(wanted: Sequence[str]) -> None:
    """Prints each row as soon as it is known, as a line of JSON."""
    few = SERVICES["rr", UDP, FEW]
    more = [Service(number, "rr", UDP, FEW) for number in range(len(SERVICES), max(OTHERS))]
    with rig([*SERVICES.values(), *more], balanced=list(SERVICES.values())) as built:
        bench = Bench(built)
        for case in cases():
            if not wanted or case.name in wanted:
                print(json.dumps(bench.row(case)), flush=True)
        for count in OTHERS:
            case = Case(few, 1, count)
            if not wanted or case.name in wanted:
                balance([*SERVICES.values(), *more][:count])
                print(json.dumps(bench.row(case)), flush=True)


if __name__ == "__main__":
    measure(sys.argv[1:])
