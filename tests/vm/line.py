# SPDX-License-Identifier: MIT
"""The director's own line: send frames to the director, and read the frames that it sends.

This handles thousands of packets a second; client and tcpdump handle some dozens.
"""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import packets
from datagram import ICMPV6, read
from dualstack import RS1_6, shell
from fivehosts import RS1, Lab
from scapy.layers.inet import UDP
from scapy.packet import Raw

from xdplb.host import namespaces
from xdplb.lab import VIP

ETH_P_ALL = 3
ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23  # include/uapi/linux/if_packet.h
SO_RCVBUFFORCE = 33
ROOM = 64 << 20  # bytes of frames that wait to be read
AT_ONCE = 100  # frames on their way: a veth with XDP takes 256
A_SECOND = 5000  # packets: few enough of them are too big, as xdplb answers only 1000 a second
TOO_LONG_S = 60

MARK_PORT = 7
MARK = b"mark %09d"
# Networks of reals that do not exist. Their packets go to rs1, which does not forward them.
REALS = {"10.20.0.0/24": RS1, "2001:db8:20::/64": RS1_6}
# The kernel's limits of ICMP answers: a number, and a list.
RATE_MASKS = {"/proc/sys/net/ipv4/icmp_ratemask": "0", "/proc/sys/net/ipv6/icmp/ratemask": ""}
ETHERNET = 14


class Line:
    """A socket on the other end of the director's cable."""

    def __init__(self, lab: Lab) -> None:
        with namespaces.entered(f"{lab.name}-net2"):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        self._socket.bind(("lvs", 0))
        self._socket.settimeout(TOO_LONG_S)
        addresses = {
            host: lab.value(host, "ip", "-json", "link", "show", "dev", ifname)[0]["address"]
            for host, ifname in (("lvs", "ens33"), ("route", "ens160"))
        }
        self._link = packets.mac(addresses["lvs"]) + packets.mac(addresses["route"])
        self._marks = 0

    def exchange(self, sent: Sequence[bytes]) -> list[bytes]:
        """Send IP packets to the director. Returns: the frames with IP that it sent, in order.

        Neighbour discovery, and other ICMPv6 that is no error, is left out.
        """
        got: list[bytes] = []
        for start in range(0, len(sent), AT_ONCE):
            for packet in sent[start : start + AT_ONCE]:
                self._send(packet)
            got += self._until_marked()
            time.sleep(AT_ONCE / A_SECOND)
        return got

    def _until_marked(self) -> Iterator[bytes]:
        """Read all frames that come before the frame of a last packet, which is sent now."""
        self._marks += 1
        mark = MARK % self._marks
        probe = packets.ip(UDP(sport=9, dport=MARK_PORT) / Raw(mark), dst=VIP)
        self._send(probe[ETHERNET:])
        while True:
            frame = self._socket.recv(65535)
            if frame.endswith(mark):
                return
            if _is_ip(frame) and MARK[:5] not in frame[-14:]:
                yield frame

    def _send(self, packet: bytes) -> None:
        self._socket.send(self._link + ETHERTYPES[packet[0] >> 4] + packet)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _is_ip(frame: bytes) -> bool:
    if frame[12:14] not in ETHERTYPES.values():
        return False
    header = read(frame[ETHERNET:])
    return header.protocol != ICMPV6 or frame[ETHERNET + header.size] < 128


@contextmanager
def opened(lab: Lab) -> Iterator[Line]:
    """A line to a director. Its answers go no further, and the kernel does not limit them."""
    for reals, via in REALS.items():
        lab.run("lvs", "ip", "route", "add", reals, "via", via)
        lab.run("lvs", "ping", "-c1", "-W5", via)  # so that lvs knows its MAC address
    for family in ("-4", "-6"):
        lab.run("route", "ip", family, "route", "add", "blackhole", "default")
    masks = {file: lab.output("lvs", "cat", file).strip() for file in RATE_MASKS}
    _write(lab, RATE_MASKS)
    line = Line(lab)
    try:
        yield line
    finally:
        line.close()
        _write(lab, masks)
        for family in ("-4", "-6"):
            lab.run("route", "ip", family, "route", "del", "blackhole", "default")
        for reals in REALS:
            lab.run("lvs", "ip", "route", "del", reals)


def _write(lab: Lab, values: Mapping[str, str]) -> None:
    shell(lab, "lvs", "\n".join(f"echo {value} > {file}" for file, value in values.items()))
