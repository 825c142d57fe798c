# SPDX-License-Identifier: MIT
"""Ask whether another host on the link answers for an address already.

The questions are those of a host before it takes an address (RFC 5227 §2.1.1, RFC 4862 §5.4), but
faster: three in a third of a second, where the RFCs take seconds.
"""

import select
import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from typing import Any

from xdplb.host import discovery_frames
from xdplb.host.interfaces import ifindex
from xdplb.host.ip import links
from xdplb.model.address import Address

TIMEOUT_S = 0.6  # a host on the link answers in less than a millisecond, one that sleeps in more
QUESTIONS, BETWEEN_S = 3, 0.15  # one of them may get lost

_ETHERTYPES = {4: discovery_frames.ETHERTYPE_ARP, 6: discovery_frames.ETHERTYPE_IPV6}
_TO_US = (socket.PACKET_HOST, socket.PACKET_BROADCAST, socket.PACKET_MULTICAST)
_BUFFER = 4 << 20  # bytes: room for the answers of a thousand at once
_SO_RCVBUFFORCE = 33  # include/uapi/asm-generic/socket.h
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_MULTICAST = 263, 1, 0  # linux/if_packet.h


def who_answers(address: Address, ifname: str, timeout_s: float = TIMEOUT_S) -> str | None:
    """The MAC of another host there that answers for an address; None if nobody does.

    See who_answer(). Raises: NotFound.
    """
    return who_answer([address], ifname, timeout_s).get(address)


def who_answer(
    addresses: Collection[Address], ifname: str, timeout_s: float = TIMEOUT_S
) -> dict[Address, str]:
    """The addresses for which another host on the interface's link answers, with its MAC.

    All are asked for at once. If the interface is down or not Ethernet, nobody answers. This host's
    own answers, by any of its interfaces, do not count. Raises: NotFound.
    """
    index = ifindex(ifname)
    here = links()
    link = next((each for each in here if each["ifindex"] == index), None)
    if not addresses or link is None or not _may_answer(link):
        return {}
    own = {each["address"] for each in here if "address" in each}
    with ExitStack() as opened:
        sockets = {
            version: opened.enter_context(_socket(ifname, index, ethertype))
            for version, ethertype in _ETHERTYPES.items()
            if any(address.version == version for address in addresses)
        }
        return _ask(addresses, sockets, _bytes(link["address"]), own, timeout_s)


def _may_answer(link: dict[str, Any]) -> bool:
    flags = set(link["flags"])
    return link["link_type"] == "ether" and {"UP", "LOWER_UP"} <= flags and "NOARP" not in flags


def _socket(ifname: str, index: int, ethertype: int) -> socket.socket:
    """A socket that also gets frames to the all-nodes group, even if IPv6 is off there."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    member = struct.pack("=iHH8s", index, _PACKET_MR_MULTICAST, 6, discovery_frames.ALL_NODES_MAC)
    made.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, member)
    made.bind((ifname, ethertype))
    return made


def _ask(
    addresses: Collection[Address],
    sockets: dict[int, socket.socket],
    mac: bytes,
    own: Collection[str],
    timeout_s: float,
) -> dict[Address, str]:
    found: dict[Address, str] = {}
    start = time.monotonic()
    for number in range(1, QUESTIONS + 1):
        until = BETWEEN_S * number if number < QUESTIONS else timeout_s
        for address in addresses:
            if address not in found:
                with suppress(OSError):  # went down, or a queue is full: the next one may get there
                    sockets[address.version].send(discovery_frames.question(address, mac))
        for address, theirs in _hear(sockets.values(), start + min(until, timeout_s)):
            if address in addresses and theirs not in own:
                found.setdefault(address, theirs)
                if len(found) == len(addresses):
                    return found
    return found


def _hear(sockets: Collection[socket.socket], deadline: float) -> Iterator[tuple[Address, str]]:
    """The addresses that are claimed until then, with the claiming MACs."""
    while (left_s := deadline - time.monotonic()) > 0:
        for ready in select.select(sockets, (), (), left_s)[0]:
            with suppress(OSError):  # the interface went down
                frame, (_, _, kind, *_) = ready.recvfrom(2048)
                said = discovery_frames.answer(frame)
                if said and kind in _TO_US:
                    yield said[0], said[1].hex(":")


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
