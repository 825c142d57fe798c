# SPDX-License-Identifier: MIT
"""The records of flows: their reals, and when they were last seen.

The program's table has a fixed size, and a full bucket gives up a record; this one never does. Both
agree as long as the program's table is large enough.
"""

from dataclasses import dataclass

from reference.packet import FIN, RST, UDP, Packet

NEW, ESTABLISHED, CLOSING = "NEW", "ESTABLISHED", "CLOSING"
UDP_NEW, UDP_KNOWN = "UDP_NEW", "UDP"
Key = tuple[int, bytes, int, int]


@dataclass
class Flow:
    """A record. `seen` is a tick."""

    state: str
    real: int
    seen: int


class Flows:
    """By service, client and both ports (of an any-port service, each port has its flows)."""

    def __init__(self, timeouts: dict[str, int]) -> None:
        self.timeouts = timeouts
        self.records: dict[Key, Flow] = {}

    def is_alive(self, flow: Flow, tick: int) -> bool:
        """A record lives as many ticks as its state's timeout says."""
        return tick - flow.seen < self.timeouts[flow.state]

    def find(self, key: Key, tick: int) -> Flow | None:
        """The flow's record; None if there is none or it has expired."""
        flow = self.records.get(key)
        return flow if flow and self.is_alive(flow, tick) else None

    def begin(self, key: Key, p: Packet, real: int, tick: int) -> None:
        """Record a flow that is seen for the first time; TCP in midstream counts as new."""
        self.records[key] = Flow(UDP_NEW if p.protocol == UDP else NEW, real, tick)


def key_of(p: Packet, service: int) -> Key:
    """The fields that identify a flow."""
    return service, p.client, p.client_port, p.service_port


def see(flow: Flow, p: Packet, tick: int) -> None:
    """Another packet of the flow: new → established → closing. Its idle time starts again."""
    flow.seen = tick
    if p.protocol == UDP:
        flow.state = UDP_KNOWN
    elif p.flags & (FIN | RST):
        flow.state = CLOSING
    elif flow.state == NEW and not p.opens:
        flow.state = ESTABLISHED
