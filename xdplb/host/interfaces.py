# SPDX-License-Identifier: MIT
"""The interfaces of this host: numbers, XDP modes, MTUs, driver features."""

import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterable

from xdplb.errors import NotFound
from xdplb.host.ip import links

# The largest MTU with which drivers put every frame in one buffer: a page, with room before and
# behind the frame. With a larger MTU, drivers take only programs for frames of several buffers, or
# none.
ONE_BUFFER_MTU = 3498
_XDP_ATTACHED_DRV = 1  # include/uapi/linux/if_link.h
_SIOCETHTOOL = 0x8946  # include/uapi/linux/sockios.h
_ETHTOOL_GFLAGS = 0x25  # include/uapi/linux/ethtool.h
_ETH_FLAG_RXVLAN = 1 << 8


def ifindex(ifname: str) -> int:
    """An interface's number. Raises: NotFound."""
    try:
        return socket.if_nametoindex(ifname)
    except OSError:
        raise NotFound(f"interface '{ifname}' does not exist here", "see: ip link") from None


def is_loopback(ifname: str) -> bool:
    """Whether it is a loopback interface. Raises: NotFound."""
    ifindex(ifname)
    return any("LOOPBACK" in link["flags"] for link in links() if link.get("ifname") == ifname)


def exists(ifname: str) -> bool:
    """Whether there is an interface of this name."""
    try:
        return bool(ifindex(ifname))
    except NotFound:
        return False


def xdp_programs(ifname: str) -> set[int]:
    """The ids of the XDP programs that an interface runs."""
    return {
        each["prog"]["id"]
        for link in links()
        if link.get("ifname") == ifname
        for each in link.get("xdp", {}).get("attached", ())
    }


def xdp_mode(ifname: str) -> str:
    """How an interface runs its XDP program: native or generic."""
    modes = [link.get("xdp", {}).get("mode") for link in links() if link.get("ifname") == ifname]
    return "native" if modes == [_XDP_ATTACHED_DRV] else "generic"


def strips_tags(ifname: str) -> bool:
    """Whether the driver takes VLAN tags off before XDP sees a frame (rx-vlan-offload)."""
    answer = (ctypes.c_uint32 * 2)(_ETHTOOL_GFLAGS)  # struct ethtool_value
    request = struct.pack("16sP", ifname.encode(), ctypes.addressof(answer))  # struct ifreq
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
    return bool(answer[1] & _ETH_FLAG_RXVLAN)


def has_jumbo_frames(ifnames: Iterable[str]) -> bool:
    """Whether one of these interfaces has frames of several buffers. Missing ones are ignored."""
    wanted = set(ifnames)
    return any(link["mtu"] > ONE_BUFFER_MTU for link in links() if link.get("ifname") in wanted)
