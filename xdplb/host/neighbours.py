# SPDX-License-Identifier: MIT
"""Next hops that the kernel keeps resolved for us (NTF_EXT_MANAGED)."""

from collections.abc import Iterable
from typing import Any

from xdplb.host.ip import ip, shown
from xdplb.model.network import Route


def keep_neighbours(routes: Iterable[Route]) -> None:
    """Have the kernel keep the next hops resolved, without traffic to them (NTF_EXT_MANAGED).

    One that an operator made permanent stays as it is.
    """
    wanted = sorted({(route.via, route.device) for route in routes if not route.local})
    if not wanted:
        return
    done = ip(batch=[f"neighbour add {via} dev {device} managed" for via, device in wanted])
    if "File exists" in done.stderr:  # learned from traffic: it becomes managed, and keeps its MAC
        permanent = {(n["dst"], n["dev"]) for n in _neighbours() if "PERMANENT" in n["state"]}
        known = [hop for hop in wanted if hop not in permanent]
        ip(batch=[f"neighbour replace {via} dev {device} managed" for via, device in known])


def release_neighbours(routes: Iterable[Route]) -> None:
    """The kernel may forget these next hops, if they were kept for us."""
    hops = {(route.via, route.device) for route in routes if not route.local}
    if not hops:
        return
    managed = {(n["dst"], n["dev"]) for n in _neighbours() if "managed" in n}
    ip(batch=[f"neighbour delete {via} dev {device}" for via, device in sorted(hops & managed)])


def _neighbours() -> list[dict[str, Any]]:
    return shown("neighbour")
