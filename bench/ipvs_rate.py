# SPDX-License-Identifier: MIT
"""The highest rate of a director (RFC 2544 §26.1), for IPVS and for xdplb. Run in the guest.

The sender has one core and offers packets at an even rate. The director has the other core: there
one thread handles the interface's packets, with the reals. The interface's queue has 256 packets;
what does not fit is lost, as on a wire. The rate is found by bisection.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from hosts import INTERFACE
from ipvs_rig import ACK, DIRECTOR, SYN, TCP, UDP, Rig, Service, rig, run

LOSS = 0.001  # of the packets offered, at most
SECONDS = 0.4  # of one trial
TRIES = 3  # if the host takes a core away for a while, the loss is not the director's
STEPS = 6  # of the bisection
PAIRS = 5
MANY = 1 << 14
WHO = ("ipvs", "xdplb")
SENDER, RECEIVER = 0, 1  # cores


@dataclass(frozen=True)
class Case:
    """Packets of some flows to a service. flows 0: each packet begins a connection."""

    name: str
    service: Service
    flows: int


CASES = (
    Case("udp, 1 flow", Service(0, "rr", UDP, 2), 1),
    Case("udp, 16k flows", Service(0, "rr", UDP, 2), MANY),
    Case("tcp, new connections", Service(1, "rr", TCP, 2), 0),
)


def own_thread() -> None:
    """Moves the director's receiving to a thread of its own."""
    inside = f"mount -t sysfs sysfs /sys; echo 1 > /sys/class/net/{INTERFACE}/threaded"
    run("unshare", "--mount", "sh", "-ec", inside, netns=DIRECTOR)


def pin_threads() -> None:
    """Binds the receiving threads to their core. A new program on the interface has new threads."""
    for process in psutil.process_iter(["name"]):
        if process.info["name"].startswith(f"napi/{INTERFACE}"):
            process.cpu_affinity([RECEIVER])


class Search:
    """The highest rate of one director in one case."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.fresh = 1 << 20

    def trial(self, case: Case, rate: float) -> tuple[float, float, float]:
        """Offers a rate. Returns: packets offered and arrived, per second; the share lost."""
        self.fresh += 1 << 18
        flags, first = (ACK, 0) if case.flows else (SYN, self.fresh)
        self.rig.ends.plan(case.service, case.flows, flags, first)
        before = self.rig.arrived()
        sent, seconds = self.rig.ends.offer(rate, SECONDS)
        time.sleep(0.05)
        arrived = self.rig.arrived() - before
        return sent / seconds, arrived / seconds, 1 - arrived / sent

    def highest(self, case: Case, director: str) -> tuple[float, float]:
        """Packets per second: the highest rate with the allowed loss; the rate left of a flood."""
        self.rig.put(director)
        pin_threads()
        flood = 1e7
        self.trial(case, flood)  # flows are recorded
        _, taken, _ = self.trial(case, flood)
        low, high, best = taken / 4, taken * 1.5, 0.0
        for _ in range(STEPS):
            rate = (low + high) / 2
            offered = self._passes(case, rate)
            best = max(best, offered)
            low, high = (rate, high) if offered else (low, rate)
        return best, taken

    def _passes(self, case: Case, rate: float) -> float:
        for _ in range(TRIES):
            offered, _, lost = self.trial(case, rate)
            if lost <= LOSS:
                return offered
        return 0.0


def row(case: Case, pairs: Sequence[dict[str, tuple[float, float]]]) -> dict[str, Any]:
    """A case's row in the results: all pairs, in the order measured."""
    return {
        "case": case.name,
        **{f"{who}_kpps": [round(pair[who][0] / 1000, 2) for pair in pairs] for who in WHO},
        **{f"{who}_flood_kpps": [round(pair[who][1] / 1000, 2) for pair in pairs] for who in WHO},
    }


def main() -> None:
    """Prints each case as soon as it is known, as a line of JSON."""
    with rig([case.service for case in CASES[1:]], [case.service for case in CASES[1:]]) as built:
        own_thread()
        os.sched_setaffinity(0, {SENDER})
        search = Search(built)
        for case in CASES:
            pairs = []
            for number in range(PAIRS):
                order = WHO if number % 2 else WHO[::-1]
                pairs.append({who: search.highest(case, who) for who in order})
                print(pairs[-1], file=sys.stderr, flush=True)
            print(json.dumps(row(case, pairs)), flush=True)


if __name__ == "__main__":
    main()
