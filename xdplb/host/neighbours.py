# SPDX-License-Identifier: MIT
"""Next hops that the kernel keeps resolved for xdplb (NTF_EXT_MANAGED)."""

from collections.abc import Iterable
from typing import Any

from xdplb.host.ip import ip, shown
from xdplb.model.network import Hop


def keep_neighbours(hops: Iterable[Hop]) -> None:
    """Have the kernel keep these next hops resolved, without traffic to them (NTF_EXT_MANAGED).

    A permanent entry, which an operator made, stays as it is.
    """
    wanted = sorted(set(hops))
    if not wanted:
        return
    done = ip(batch=[f"neighbour add {via} dev {device} managed" for via, device in wanted])
    if "File exists" in done.stderr:  # learned from traffic: it becomes managed, and keeps its MAC
        permanent = {(n["dst"], n["dev"]) for n in _neighbours() if "PERMANENT" in n["state"]}
        known = [hop for hop in wanted if hop not in permanent]
        ip(batch=[f"neighbour replace {via} dev {device} managed" for via, device in known])


def release_neighbours(hops: Iterable[Hop]) -> None:
    """The kernel may forget these next hops, if it was told to keep them."""
    unwanted = set(hops)
    if not unwanted:
        return
    managed = {Hop(n["dst"], n["dev"]) for n in _neighbours() if "managed" in n}
    ip(batch=[f"neighbour delete {via} dev {device}" for via, device in sorted(unwanted & managed)])


def _neighbours() -> list[dict[str, Any]]:
    return shown("neighbour")
