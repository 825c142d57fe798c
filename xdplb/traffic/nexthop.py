# SPDX-License-Identifier: MIT
"""Who takes a packet next, and by what, for those who send below the IP stack."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from xdplb.errors import KernelRefused, UsageError
from xdplb.host.addresses import local_addresses
from xdplb.host.interfaces import ifindex
from xdplb.host.ip import shown

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
    try:
        [route] = shown("route", "get", str(destination), "oif", device)
    except KernelRefused as error:
        raise UsageError(
            f"{destination} is in no route by {device}",
            "add a route, or give the next hop's MAC by --mac",
        ) from error
    via = route.get("gateway", str(destination))
    for neighbour in shown("neighbour", "show", via, "dev", device):
        if "lladdr" in neighbour:
            return NextHop(neighbour["lladdr"], via)
    raise UsageError(
        f"the MAC of next hop {via} is not known yet", f"run: ping -c1 {via}; or give it by --mac"
    )


def transmit_queues(device: str) -> int:
    """How many an interface has. (/sys shows those of another network namespace than ours.)"""
    [link] = shown("-details", "link", "show", "dev", device)
    return int(link["num_tx_queues"])
