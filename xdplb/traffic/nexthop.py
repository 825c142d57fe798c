# SPDX-License-Identifier: MIT
"""Who takes a packet next, and by what, for those who send below the IP stack."""

import json
import re
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from xdplb.errors import MissingPart, UsageError
from xdplb.host.addresses import local_addresses
from xdplb.host.interfaces import ifindex

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class NextHop:
    """`via` is None where a MAC was given, and no route asked."""

    mac: str
    via: str | None = None


def find(device: str, destination: IPv4Address, mac: str | None) -> NextHop:
    """The next hop to a destination by an interface. Raises: UsageError, NotFound, MissingPart.

    A MAC that is given is taken as it is: the director may be on the same wire.
    """
    ifindex(device)
    if destination in local_addresses():
        raise UsageError(
            f"{destination} is this host's own address", "send from another host, or namespace"
        )
    if mac is not None:
        if not _MAC.fullmatch(mac.lower()):
            raise UsageError(f"'{mac}' is not a MAC", "write it as 02:00:00:00:00:01")
        return NextHop(mac.lower())
    routes = _ip("route", "get", str(destination), "oif", device)
    if not routes:
        raise UsageError(
            f"{destination} is in no route by {device}",
            "add a route, or give the next hop's MAC by --mac",
        )
    via = routes[0].get("gateway", str(destination))
    for neighbour in _ip("neighbour", "show", via, "dev", device):
        if "lladdr" in neighbour:
            return NextHop(neighbour["lladdr"], via)
    raise UsageError(
        f"the MAC of next hop {via} is not known yet", f"run: ping -c1 {via}; or give it by --mac"
    )


def transmit_queues(device: str) -> int:
    """How many an interface has. (/sys shows those of another network namespace than ours.)"""
    links = _ip("-details", "link", "show", "dev", device)
    return int(links[0]["num_tx_queues"]) if links else 0


def _ip(*words: str) -> list[dict[str, Any]]:
    try:
        done = subprocess.run(["ip", "-json", *words], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise MissingPart("there is no command ip", "run: apt-get install iproute2") from error
    shown: list[dict[str, Any]] = json.loads(done.stdout or "[]") if not done.returncode else []
    return shown
