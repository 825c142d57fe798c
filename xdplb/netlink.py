# SPDX-License-Identifier: MIT
"""Links, addresses, routes and network namespaces: the only import of pyroute2.

Every function works in the network namespace that the calling thread is in; `namespace()` enters
another one for a while. pyroute2 is imported inside functions: its import alone takes 0.2 s.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdplb.errors import KernelRefused, NotFound

NAMESPACES = Path("/run/netns")  # where iproute2 keeps them, so that `ip netns` lists ours

_CLONE_NEWNET = 0x40000000
_XDP_FLAGS_DRV_MODE = 1 << 2  # native: refuse rather than fall back to generic
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Counters:
    """What an interface has received and sent since it exists."""

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


# Namespaces


def create_namespace(name: str) -> None:
    """Create a named network namespace, as `ip netns add` does. Raises: KernelRefused."""
    from pyroute2 import netns

    try:
        netns.create(name)
    except Exception as error:  # pyroute2 hands on whatever its child process died of
        raise KernelRefused(f"network namespace '{name}' cannot be created: {error}") from error


def remove_namespace(name: str) -> None:
    """Remove a named network namespace, or the file that a crash left in its place."""
    from pyroute2 import netns

    with contextlib.suppress(FileNotFoundError):
        netns.remove(name)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[None]:
    """Let the calling thread, and what it starts, live in this network namespace for a while.

    The network namespace alone is entered: mounts, /sys/fs/bpf among them, stay as they are.
    Raises: NotFound.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        os.close(home)
        raise NotFound(f"network namespace '{name}' does not exist", "see: ip netns list") from None
    try:
        _setns(there, name)
        try:
            yield
        finally:
            _setns(home, "the caller's own")
    finally:
        os.close(there)
        os.close(home)


def _setns(fd: int, name: str) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise _refused(f"network namespace '{name}' cannot be entered", ctypes.get_errno())


# Settings


def has_sysctl(path: str) -> bool:
    """Whether there is a setting such as `net/ipv6/conf/lo/forwarding`: a kernel may lack IPv6."""
    return Path("/proc/sys", path).exists()


def sysctls(pattern: str) -> list[str]:
    """The settings that there are of `net/ipv6/conf/*/accept_ra`."""
    return [str(path.relative_to("/proc/sys")) for path in Path("/proc/sys").glob(pattern)]


def read_sysctl(path: str) -> str:
    """Read a setting such as `net/ipv4/conf/all/rp_filter`. Raises: KernelRefused."""
    try:
        return Path("/proc/sys", path).read_text().strip()
    except OSError as error:
        raise _refused(f"sysctl {path} cannot be read", error.errno or 0) from error


def write_sysctl(path: str, value: int | str) -> None:
    """Set a setting such as `net/ipv4/conf/all/rp_filter`. Raises: KernelRefused."""
    try:
        Path("/proc/sys", path).write_text(str(value))
    except OSError as error:
        raise _refused(f"sysctl {path} cannot be set", error.errno or 0) from error


# Links, addresses, routes


@contextlib.contextmanager
def _route(what: str) -> Iterator[Any]:
    """A socket to rtnetlink; a refusal is told as `what` and the kernel's reason."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as route:
            yield route
    except NetlinkError as error:
        raise _refused(what, error.code) from error


def _refused(what: str, number: int) -> KernelRefused:
    refusal = KernelRefused(f"{what}: {os.strerror(number)}")
    refusal.errno = number
    return refusal


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
    """Add a veth pair: `port` on the bridge, set up; `peer` in another namespace, still down."""
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
