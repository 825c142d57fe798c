# SPDX-License-Identifier: MIT
"""Neighbours: next hops that the kernel keeps resolved (NTF_EXT_MANAGED), and one's MAC."""

import time
from collections.abc import Iterable
from typing import Any

from xdplb.host.ip import ip, shown
from xdplb.model.network import Hop

_ANSWER_S = 3.0  # the kernel asks three times, a second apart (mcast_solicit, retrans_time_ms)


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


def resolve(via: str, device: str) -> str | None:
    """A neighbour's MAC; None if it has not told it within three seconds.

    Where the kernel does not know it, it asks by ARP or neighbour discovery; nothing else is sent.
    """
    asked_until = None
    while not (mac := _mac(via, device)):
        if asked_until is None:
            ip("neighbour", "replace", via, "dev", device, "use")
            asked_until = time.monotonic() + _ANSWER_S
        elif time.monotonic() > asked_until:
            return None
        time.sleep(0.05)
    return mac


def _mac(via: str, device: str) -> str | None:
    known = _neighbours("show", via, "dev", device)
    return next((each["lladdr"] for each in known if "lladdr" in each), None)


def _neighbours(*which: str) -> list[dict[str, Any]]:
    return shown("neighbour", *which)
