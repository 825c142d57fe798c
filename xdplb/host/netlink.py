# SPDX-License-Identifier: MIT
"""Links, addresses and routes by rtnetlink: the only import of pyroute2."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xdplb.errors import NotFound, refused

_XDP_FLAGS_DRV_MODE = 1 << 2  # native: refuse rather than fall back to generic


@dataclass(frozen=True)
class Counters:
    """What an interface has received and sent since it was made."""

    rx_packets: int
    rx_bytes: int
    tx_packets: int
    tx_bytes: int

    def __sub__(self, before: "Counters") -> "Counters":
        return Counters(
            self.rx_packets - before.rx_packets,
            self.rx_bytes - before.rx_bytes,
            self.tx_packets - before.tx_packets,
            self.tx_bytes - before.tx_bytes,
        )


@contextlib.contextmanager
def _route(what: str) -> Iterator[Any]:
    """A socket to rtnetlink. A refusal raises an error with `what` and the kernel's reason."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise refused(what, error.code) from error


def _index(route: Any, ifname: str) -> int:
    found = route.link_lookup(ifname=ifname)
    if not found:
        raise NotFound(f"interface '{ifname}' does not exist here", "see: ip link")
    return int(found[0])


def add_bridge(ifname: str) -> None:
    """Add a bridge without spanning tree or multicast snooping, and set it up."""
    with _route(f"bridge {ifname} cannot be added") as route:
        route.link("add", ifname=ifname, kind="bridge", br_stp_state=0, br_mcast_snooping=0)
        route.link("set", index=_index(route, ifname), state="up")


def add_bridge_port(bridge: str, port: str, peer: str, peer_namespace: str) -> None:
    """Add a veth pair: `port` on the bridge, up; `peer` in another namespace, still down."""
    with _route(f"veth pair {port}, {peer} cannot be added") as route:
        route.link(
            "add",
            ifname=port,
            kind="veth",
            master=_index(route, bridge),
            peer={"ifname": peer, "net_ns_fd": peer_namespace},
        )
        route.link("set", index=_index(route, port), state="up")


def set_up(ifname: str) -> None:
    """Set an interface up."""
    with _route(f"interface {ifname} cannot be set up") as route:
        route.link("set", index=_index(route, ifname), state="up")


def add_address(ifname: str, address: str) -> None:
    """Add an address such as `192.0.2.1/24`."""
    with _route(f"address {address} cannot be added to {ifname}") as route:
        route.addr("add", index=_index(route, ifname), address=address)


def add_default_route(gateway: str) -> None:
    """Add the default route."""
    with _route(f"default route via {gateway} cannot be added") as route:
        route.route("add", dst="default", gateway=gateway)


def attach_xdp(ifname: str, program_fd: int) -> None:
    """Attach an XDP program in native mode, for as long as the interface lives, without a pin."""
    xdp = {"attrs": [("IFLA_XDP_FD", program_fd), ("IFLA_XDP_FLAGS", _XDP_FLAGS_DRV_MODE)]}
    with _route(f"XDP program cannot be attached to {ifname}") as route:
        route.link("set", index=_index(route, ifname), xdp=xdp)


def counters(ifname: str) -> Counters:
    """Read an interface's counters."""
    with _route(f"counters of {ifname} cannot be read") as route:
        (link,) = route.get_links(_index(route, ifname))
        stats = link.get("stats64")
    return Counters(*(int(stats[key]) for key in Counters.__dataclass_fields__))
