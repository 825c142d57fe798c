# SPDX-License-Identifier: MIT
"""The routes from this host to real servers."""

import json
import re
from collections.abc import Sequence
from typing import Any

from xdplb.errors import Conflict
from xdplb.host.ip import ip
from xdplb.model.address import Address, parse_address
from xdplb.model.network import Route

_NO_ROUTE = re.compile(r"Command failed -:(\d+)")


def resolve(addresses: Sequence[str]) -> dict[str, Route]:
    """The routes to these addresses. Raises: Conflict naming one that has none."""
    done = ip("-json", batch=[f"route get {address}" for address in addresses])
    for number in _NO_ROUTE.findall(done.stderr):  # also for unreachable and prohibit routes
        address = addresses[int(number) - 1]
        raise Conflict(
            f"real {address} is in no route of this host",
            f"see `ip route get {address}`, and add a route or mend the address",
        )
    lines = done.stdout.splitlines()
    return {
        address: _route(address, route)
        for address, line in zip(addresses, lines, strict=True)
        for route in json.loads(line)
    }


def _route(address: str, route: dict[str, Any]) -> Route:
    """The route in an answer of `ip route get`. Raises: Conflict if the host has no DIP for it.

    The DIP has the real's family. It is not a loopback or link-local address: a packet from such
    an address does not arrive.
    """
    if route.get("type") == "broadcast":
        raise Conflict(f"real {address} is no host's address", "give the real's RIP")
    local = route.get("type") == "local"
    source = parse_address(route.get("prefsrc", "::"))
    if not local and (source.is_unspecified or source.is_loopback or _is_of_a_link(source)):
        family = f"IPv{parse_address(address).version}"
        raise Conflict(
            f"real {address} is {family}, and this host has no {family} address to send from",
            f"add one: ip address add ADDRESS dev {route['dev']}",
        )
    gateway = route.get("gateway") or route.get("via", {}).get("host")  # of the other family
    return Route(route["dev"], gateway or "", str(source), local)


def _is_of_a_link(address: Address) -> bool:
    return address.version == 6 and address.is_link_local
