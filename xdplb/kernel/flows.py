# SPDX-License-Identifier: MIT
"""The records of flows, as bpf/flow.h writes them: read by all at once, with numpy."""

from typing import Any

from xdplb.kernel.clock import Clock
from xdplb.kernel.program_text import enum_values
from xdplb.kernel.tables import Tables


def decode_flows(tables: Tables, clock: Clock, *, mid_stream: bool = False) -> Any:
    """The live records: numpy array of fields real, state, age (seconds), shape (n,).

    mid_stream: keep NEW records up to the established timeout. They may be of packets in the middle
    of a connection, which is idle since.
    """
    import numpy as np

    words = np.frombuffer(tables.flows.memory, np.uint64)
    words = words[words != 0]
    states = (words >> np.uint64(32)).astype(np.uint8) & 7
    ages = (clock.now() - (words & np.uint64(0xFFFF)).astype(np.int64)) & 0xFFFF
    timeouts = np.array(list(tables.director[0].config.timeout))
    if mid_stream:
        of = enum_values("flow_state")
        timeouts[of["FLOW_NEW"]] = timeouts[of["FLOW_ESTABLISHED"]]
    alive = ages < timeouts[states]
    flows = np.zeros(int(alive.sum()), [("real", "u4"), ("state", "u1"), ("age", "f4")])
    flows["real"] = (words[alive] >> np.uint64(16)).astype(np.uint32) & 0xFFFF
    flows["state"] = states[alive]
    flows["age"] = ages[alive] * clock.tick_s
    return flows


def live_reals(tables: Tables, clock: Clock) -> set[int]:
    """The indices of all reals that some live record names."""
    import numpy as np

    return set(np.unique(decode_flows(tables, clock, mid_stream=True)["real"]).tolist())
