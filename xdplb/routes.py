# SPDX-License-Identifier: MIT
"""The director's own network: its addresses, the ways to its reals, their neighbours.

Asked of iproute2, whose answer takes 4 ms: importing pyroute2 (netlink.py) takes 0.2 s of the 0.3 s
that `xdplb server add` has in all.
"""

import ctypes
import fcntl
import json
import re
import socket
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdplb.errors import KernelRefused, MissingPart, NotFound, UsageError
from xdplb.model import Vlan
from xdplb.net import Address, add_words, parse_address

BPFFS = Path("/sys/fs/bpf")
# The largest MTU with which drivers put any frame in one buffer, a page with room before and behind
# it; with a larger one they take programs for frames of several buffers only, if any.
ONE_BUFFER_MTU = 3498
_XDP_ATTACHED_DRV = 1  # include/uapi/linux/if_link.h
TPIDS = {"802.1Q": 0x8100, "802.1ad": 0x88A8}  # IEEE 802.1Q table 9-1
_SIOCETHTOOL = 0x8946  # include/uapi/linux/sockios.h
_ETHTOOL_GFLAGS = 0x25  # include/uapi/linux/ethtool.h
_ETH_FLAG_RXVLAN = 1 << 8
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


def _links(*options: str) -> list[dict[str, Any]]:
    """The host's interfaces with their addresses."""
    shown: list[dict[str, Any]] = json.loads(_ip("-json", *options, "address").stdout)
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


def vlans() -> dict[int, Vlan]:
    """All VLAN devices whose interface is here too, by their numbers; one may be on another."""
    links = {link["ifname"]: link for link in _links("-details") if "ifname" in link}
    found = {}
    for name, link in links.items():
        tags: list[tuple[int, int]] = []
        while _is_vlan(links.get(name, {})) and "link" in links[name]:
            tags.insert(0, _tag(links[name]["linkinfo"]["info_data"]))
            name = links[name]["link"]
        if tags and name in links:
            found[link["ifindex"]] = Vlan(links[name]["ifindex"], tuple(tags))
    return found


def _is_vlan(link: dict[str, Any]) -> bool:
    return bool(link.get("linkinfo", {}).get("info_kind") == "vlan")


def _tag(data: dict[str, Any]) -> tuple[int, int]:
    return TPIDS[data["protocol"]], int(data["id"])


def strips_tags(ifname: str) -> bool:
    """Whether its driver takes VLAN tags off before XDP sees a frame: rx-vlan-offload."""
    answer = (ctypes.c_uint32 * 2)(_ETHTOOL_GFLAGS)  # struct ethtool_value
    request = struct.pack("16sP", ifname.encode(), ctypes.addressof(answer))  # struct ifreq
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
    return bool(answer[1] & _ETH_FLAG_RXVLAN)


def has_jumbo_frames(ifnames: Iterable[str]) -> bool:
    """Whether one of these interfaces, as far as they are there, has frames of several buffers."""
    wanted = set(ifnames)
    return any(link["mtu"] > ONE_BUFFER_MTU for link in _links() if link.get("ifname") in wanted)


def local_addresses() -> set[Address]:
    """All addresses on this host's interfaces."""
    return {address for link in _links() for address in _addresses_of(link)}


def resolve(addresses: Sequence[str]) -> dict[str, Route]:
    """The routes to these addresses. Raises: UsageError naming one that has none."""
    done = _ip("-json", batch=[f"route get {address}" for address in addresses])
    for number in _NO_ROUTE.findall(done.stderr):  # also of a route that refuses
        address = addresses[int(number) - 1]
        raise UsageError(
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
    """From what `ip route get` said. Raises: UsageError if nothing of this host's can be the DIP:
    it is of the real's family, and a packet from a loopback or link-local one arrives nowhere.
    """
    if route.get("type") == "broadcast":
        raise UsageError(f"real {address} is no host's address", "give the real's RIP")
    local = route.get("type") == "local"
    source = parse_address(route.get("prefsrc", "::"))
    if not local and (source.is_unspecified or source.is_loopback or _is_of_a_link(source)):
        family = f"IPv{parse_address(address).version}"
        raise UsageError(
            f"real {address} is {family}, and this host has no {family} address to send from",
            f"add one: ip address add ADDRESS dev {route['dev']}",
        )
    gateway = route.get("gateway") or route.get("via", {}).get("host")  # of the other family
    return Route(route["dev"], gateway or address, str(source), local)


def _is_of_a_link(address: Address) -> bool:
    return address.version == 6 and address.is_link_local


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
    """Tell the network which interface has this VIP now.

    By gratuitous ARP (RFC 5227 §2.3), or one unsolicited neighbour advertisement (RFC 4861 §7.2.6,
    of which there may be more, each a second later). Nothing is said where no Ethernet interface
    has it.
    """
    for link in _links():
        if link.get("link_type") != "ether" or vip not in _addresses_of(link):
            continue
        mac = bytes.fromhex(link["address"].replace(":", ""))
        frames = [_advertisement(vip, mac)] if vip.version == 6 else [_arp(vip, mac)] * 3
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((link["ifname"], 0))
            for frame in frames:
                sender.send(frame)


def _arp(vip: Address, mac: bytes) -> bytes:
    arp = bytes.fromhex("0001080006040001") + mac + vip.packed + bytes(6) + vip.packed
    return b"\xff" * 6 + mac + b"\x08\x06" + arp


def _advertisement(vip: Address, mac: bytes) -> bytes:
    """To all nodes, from none of their routers: override what you know of it."""
    target = bytes((2, 1)) + mac  # the option of its link-layer address
    message = bytes((136, 0, 0, 0)) + b"\x20\0\0\0" + vip.packed + target
    all_nodes = parse_address("ff02::1").packed
    pseudo = vip.packed + all_nodes + struct.pack("!II", len(message), socket.IPPROTO_ICMPV6)
    check = struct.pack("!H", 0xFFFF - add_words(pseudo + message))
    header = struct.pack("!IHBB", 6 << 28, len(message), socket.IPPROTO_ICMPV6, 255)
    packet = header + vip.packed + all_nodes + message[:2] + check + message[4:]
    return b"\x33\x33\0\0\0\1" + mac + b"\x86\xdd" + packet


def set_address(verb: str, ifname: str, address: Address) -> None:
    """Add or delete ("add", "delete") a VIP on an interface. Raises: KernelRefused.

    Of IPv6 it is deprecated from the start, so that it is the source of nothing that does not ask
    for it: the kernel takes the address most like the destination (RFC 6724 §5), and a VIP on the
    reals' network would win over the DIP. Nor is it looked for elsewhere first: reals have it, too.
    """
    place = [f"{address}/{address.max_prefixlen}", "dev", ifname]
    if address.version == 6 and verb == "add":
        place += ["nodad", "preferred_lft", "0"]
    done = _ip("address", verb, *place)
    if done.returncode:
        raise KernelRefused(
            f"cannot {verb} {address} on {ifname}: {done.stderr.strip() or 'ip failed'}"
        )
