# SPDX-License-Identifier: MIT
"""Who takes a packet next, and by what, for those who send below the IP stack."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from xdplb.errors import KernelRefused, UsageError, XdplbError
from xdplb.host import neighbours
from xdplb.host.addresses import local_addresses
from xdplb.host.interfaces import ifindex
from xdplb.host.ip import shown

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class NextHop:
    """`via` is None where a MAC was given, and no route asked."""

    mac: str
    via: str | None = None


def check_mac(text: str) -> str:
    """The MAC of one host, in small letters. Raises: UsageError."""
    mac = text.lower()
    if not _MAC.fullmatch(mac):
        raise UsageError(f"'{text}' is not a MAC", "write it as 02:00:00:00:00:01")
    if int(mac[:2], 16) & 1 or not int(mac.replace(":", ""), 16):
        raise UsageError(f"MAC {text} is no single host's", "give the next hop's")
    return mac


def check(device: str, destination: IPv4Address) -> None:
    """See to it that an interface can send, and that nobody sends to himself.

    Raises: UsageError, NotFound, MissingPart; XdplbError if the interface is down.
    """
    ifindex(device)
    [link] = shown("link", "show", "dev", device)
    if "UP" not in link["flags"]:
        raise XdplbError(f"interface {device} is down", f"run: ip link set {device} up")
    if "NO-CARRIER" in link["flags"]:
        raise XdplbError(f"interface {device} has no carrier", "see to its cable, or its peer")
    if destination in local_addresses():
        raise UsageError(
            f"{destination} is this host's own address", "send from another host, or namespace"
        )


def find(device: str, destination: IPv4Address, mac: str | None) -> NextHop:
    """The next hop to a destination by an interface, whose MAC the kernel is asked to resolve.

    A MAC that is given is taken as it is: the director may be on the same wire.
    Raises: UsageError, MissingPart; XdplbError if no route leads to the destination, or its next
    hop does not answer.
    """
    if mac is not None:
        return NextHop(mac)
    via = _gateway(device, destination)
    found = neighbours.resolve(via, device)
    if found is None:
        raise XdplbError(
            f"next hop {via} does not tell its MAC on {device}",
            f"see if it answers: ping -c1 {via}; or give it by --mac",
        )
    return NextHop(found, via)


def _gateway(device: str, destination: IPv4Address) -> str:
    """Who is next: a gateway, of whichever family, or the destination itself."""
    try:
        [route] = shown("route", "get", str(destination), "oif", device)
    except KernelRefused as error:
        raise XdplbError(
            f"{destination} is in no route by {device}",
            "add a route, or give the next hop's MAC by --mac",
        ) from error
    if route.get("type") == "broadcast":
        raise UsageError(f"{destination} is no host's address", "give one VIP:PORT")
    gateway: str = route.get("gateway") or route.get("via", {}).get("host") or str(destination)
    return gateway


def transmit_queues(device: str) -> int:
    """How many an interface has. (/sys shows those of another network namespace than ours.)"""
    [link] = shown("-details", "link", "show", "dev", device)
    return int(link["num_tx_queues"])
