# SPDX-License-Identifier: MIT
"""What the tables hold and the state does not name goes: after a command was killed.

Every table is read whole, so nothing has to be remembered of what the killed command had begun.
"""

import ctypes

from xdplb.director.table_writer import TableWriter
from xdplb.kernel.tables import Tables, elements


def prune(writer: TableWriter) -> None:
    """Services, ids, reals, VIPs and prefixes that the state does not name are taken away.

    The services that are wanted must be in the tables.
    """
    tables, state = writer.tables, writer.state
    writer.lookups.keep_services(state.wanted.services)
    _prune_reals(writer)
    writer.free_ids(_ids_in_use(tables))
    writer.lookups.keep_vips(state.vips())
    tables.keep_denied(state.denied_prefixes())
    writer.deny(state.wanted.denied)


def _prune_reals(writer: TableWriter) -> None:
    import numpy as np

    tables, state = writer.tables, writer.state
    services = np.frombuffer(tables.reals.memory, np.dtype(tables.reals.leaf))["service"]
    owners = np.zeros(len(services), services.dtype)
    keys = {number: key for key, number in state.allocated.services.items()}
    for number, key in keys.items():
        owners[state.allocated.indices(key)] = number
    for index in np.flatnonzero((services != 0) & (services != owners)).tolist():
        owner = keys.get(int(services[index]))
        if owner is not None:
            writer.remove_real(index, owner)
        else:
            record = tables.reals[index]
            record.service = 0
            ctypes.memset(ctypes.addressof(record), 0, ctypes.sizeof(record))
            tables.real_stats.clear_cpus(index)


def _ids_in_use(tables: Tables) -> set[int]:
    """Ids that have a ring, a turn or a limit."""
    director = tables.director[0]
    turns, limits = elements(director.turns), elements(director.limits)
    return {
        number
        for number in range(tables.rings.entries)
        if turns[number].next or any(bytes(limits[number])) or tables.has_ring(number)
    }
