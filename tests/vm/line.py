# SPDX-License-Identifier: MIT
"""The director's own line: frames that are put on it towards the director, and what it sends.

Thousands a second, where client and tcpdump are good for some dozens.
"""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import packets
from fivehosts import Lab
from scapy.layers.inet import UDP
from scapy.packet import Raw

from xdplb import netlink
from xdplb.lab import VIP

ETH_P_ALL, ETH_P_IP = 3, b"\x08\x00"
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23  # include/uapi/linux/if_packet.h
SO_RCVBUFFORCE = 33
ROOM = 64 << 20  # bytes of frames that wait to be read
AT_ONCE = 100  # frames on their way: a veth with XDP takes 256
A_SECOND = 5000  # so that what is too big is not too much: xdplb answers 1000 a second
TOO_LONG_S = 60

MARK_PORT = 7
MARK = b"mark %09d"
# Where reals are that nobody is: rs1, which does not forward, takes what is sent there.
REALS, REALS_VIA = "10.20.0.0/24", "192.168.2.220"
RATE_MASK = "/proc/sys/net/ipv4/icmp_ratemask"  # which answers the kernel limits
ETHERNET = 14


class Line:
    """A socket on the other end of the director's cable."""

    def __init__(self, lab: Lab) -> None:
        with netlink.namespace(f"{lab.name}-net2"):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        self._socket.bind(("lvs", 0))
        self._socket.settimeout(TOO_LONG_S)
        addresses = {
            host: lab.value(host, "ip", "-json", "link", "show", "dev", ifname)[0]["address"]
            for host, ifname in (("lvs", "ens33"), ("route", "ens160"))
        }
        self._link = packets.mac(addresses["lvs"]) + packets.mac(addresses["route"]) + ETH_P_IP
        self._marks = 0

    def exchange(self, sent: Sequence[bytes]) -> list[bytes]:
        """Send IP packets to the director. Returns: the IPv4 frames that it sent, in order."""
        got: list[bytes] = []
        for start in range(0, len(sent), AT_ONCE):
            for packet in sent[start : start + AT_ONCE]:
                self._socket.send(self._link + packet)
            got += self._until_marked()
            time.sleep(AT_ONCE / A_SECOND)
        return got

    def _until_marked(self) -> Iterator[bytes]:
        """What comes before a packet that is sent now: it overtakes none of the others."""
        self._marks += 1
        mark = MARK % self._marks
        probe = packets.ip(UDP(sport=9, dport=MARK_PORT) / Raw(mark), dst=VIP)
        self._socket.send(self._link + probe[ETHERNET:])
        while True:
            frame = self._socket.recv(65535)
            if frame.endswith(mark):
                return
            if frame[12:14] == ETH_P_IP and MARK[:5] not in frame[-14:]:
                yield frame

    def close(self) -> None:
        """No more."""
        self._socket.close()


@contextmanager
def opened(lab: Lab) -> Iterator[Line]:
    """A line to a director whose answers go no further, and are not limited in number."""
    lab.run("lvs", "ip", "route", "add", REALS, "via", REALS_VIA)
    lab.run("lvs", "ping", "-c1", "-W5", REALS_VIA)  # so that its MAC address is known
    lab.run("route", "ip", "route", "add", "blackhole", "default")
    mask = lab.output("lvs", "cat", RATE_MASK).strip()
    lab.run("lvs", "sh", "-c", f"echo 0 > {RATE_MASK}")
    line = Line(lab)
    try:
        yield line
    finally:
        line.close()
        lab.run("lvs", "sh", "-c", f"echo {mask} > {RATE_MASK}")
        lab.run("route", "ip", "route", "del", "blackhole", "default")
        lab.run("lvs", "ip", "route", "del", REALS)
