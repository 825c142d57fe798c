# SPDX-License-Identifier: MIT
"""The director's own network: its addresses, the ways to its reals, their neighbours.

Asked of iproute2, whose answer takes 4 ms: importing pyroute2 (netlink.py) takes 0.2 s of the 0.3 s
that `xdplb server add` has in all.
"""

import json
import re
import socket
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdplb.errors import KernelRefused, MissingPart, NotFound, UsageError
from xdplb.net import Address, parse_address

BPFFS = Path("/sys/fs/bpf")
_ARP_ANNOUNCEMENTS = 3
_XDP_ATTACHED_DRV = 1  # include/uapi/linux/if_link.h
_NO_ROUTE = re.compile(r"Command failed -:(\d+)")


@dataclass(frozen=True)
class Route:
    """The way to a real: where it leaves, the neighbour that takes it, the outer source it gets."""

    device: str
    via: str
    source: str
    local: bool


def _ip(*arguments: str, batch: Sequence[str] | None = None) -> "subprocess.CompletedProcess[str]":
    command = ["ip", *arguments, *([] if batch is None else ["-force", "-batch", "-"])]
    try:
        return subprocess.run(command, input="\n".join(batch or ()), capture_output=True, text=True)
    except FileNotFoundError as error:
        raise MissingPart("there is no command ip", "run: apt-get install iproute2") from error


def ifindex(ifname: str) -> int:
    """An interface's number. Raises: NotFound."""
    try:
        return socket.if_nametoindex(ifname)
    except OSError:
        raise NotFound(f"interface '{ifname}' does not exist here", "see: ip link") from None


def _links() -> list[dict[str, Any]]:
    """The host's interfaces with their addresses."""
    shown: list[dict[str, Any]] = json.loads(_ip("-json", "address").stdout)
    return shown


def _addresses_of(link: dict[str, Any]) -> set[Address]:
    found = link.get("addr_info", ())
    return {parse_address(address["local"]) for address in found if "local" in address}


def xdp_programs(ifname: str) -> set[int]:
    """The ids of the XDP programs that an interface runs."""
    return {
        each["prog"]["id"]
        for link in _links()
        if link.get("ifname") == ifname
        for each in link.get("xdp", {}).get("attached", ())
    }


def xdp_mode(ifname: str) -> str:
    """How an interface runs its XDP program: native or generic."""
    modes = [link.get("xdp", {}).get("mode") for link in _links() if link.get("ifname") == ifname]
    return "native" if modes == [_XDP_ATTACHED_DRV] else "generic"


def local_addresses() -> set[Address]:
    """All addresses on this host's interfaces."""
    return {address for link in _links() for address in _addresses_of(link)}


def resolve(addresses: Sequence[str]) -> dict[str, Route]:
    """The routes to these addresses. Raises: UsageError naming one that has none."""
    done = _ip("-json", batch=[f"route get {address}" for address in addresses])
    for number in _NO_ROUTE.findall(done.stderr):
        address = addresses[int(number) - 1]
        raise UsageError(
            f"real {address} is in no route of this host",
            f"see `ip route get {address}`, and add a route or mend the address",
        )
    found = {}
    for line in done.stdout.splitlines():
        for route in json.loads(line):
            if route.get("type") == "broadcast":
                raise UsageError(f"real {route['dst']} is no host's address", "give the real's RIP")
            found[route["dst"]] = Route(
                device=route["dev"],
                via=route.get("gateway", route["dst"]),
                source=route["prefsrc"],
                local=route.get("type") == "local",
            )
    return found


def keep_neighbours(routes: Iterable[Route]) -> None:
    """Have the kernel keep the next hops resolved, without traffic to them (NTF_EXT_MANAGED).

    One that an operator made permanent stays as it is.
    """
    wanted = sorted({(route.via, route.device) for route in routes if not route.local})
    if not wanted:
        return
    done = _ip(batch=[f"neighbour add {via} dev {device} managed" for via, device in wanted])
    if "File exists" in done.stderr:  # learned from traffic: it becomes managed, and keeps its MAC
        permanent = {(n["dst"], n["dev"]) for n in _neighbours() if "PERMANENT" in n["state"]}
        known = [hop for hop in wanted if hop not in permanent]
        _ip(batch=[f"neighbour replace {via} dev {device} managed" for via, device in known])


def release_neighbours(routes: Iterable[Route]) -> None:
    """The kernel may forget these next hops, if they were kept for us."""
    hops = {(route.via, route.device) for route in routes if not route.local}
    if not hops:
        return
    managed = {(n["dst"], n["dev"]) for n in _neighbours() if "managed" in n}
    _ip(batch=[f"neighbour delete {via} dev {device}" for via, device in sorted(hops & managed)])


def _neighbours() -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads(_ip("-json", "neighbour").stdout or "[]")
    return shown


def announce(vip: Address) -> None:
    """Tell the network which interface has this VIP now: gratuitous ARP (RFC 5227 §2.3).

    Nothing is said where no Ethernet interface has it.
    """
    if vip.version != 4:
        return
    for link in _links():
        if link.get("link_type") != "ether" or vip not in _addresses_of(link):
            continue
        mac = bytes.fromhex(link["address"].replace(":", ""))
        arp = bytes.fromhex("0001080006040001") + mac + vip.packed + bytes(6) + vip.packed
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((link["ifname"], 0))
            for _ in range(_ARP_ANNOUNCEMENTS):
                sender.send(b"\xff" * 6 + mac + b"\x08\x06" + arp)


def set_address(verb: str, ifname: str, address: Address) -> None:
    """Add or delete ("add", "delete") a host address on an interface. Raises: KernelRefused."""
    done = _ip("address", verb, f"{address}/{address.max_prefixlen}", "dev", ifname)
    if done.returncode:
        raise KernelRefused(
            f"cannot {verb} {address} on {ifname}: {done.stderr.strip() or 'ip failed'}"
        )
