# SPDX-License-Identifier: MIT
"""Packets from the client, and the frames in which they reach the real servers."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import packets
from fivehosts import Lab
from scapy.layers import inet
from scapy.packet import Raw
from scapy.utils import RawPcapReader

from xdplb.host import namespaces
from xdplb.lab import VIP

ETHERNET, IP_HEADER = 14, 20
ID, FLAGS, CHECKSUM = 4, 6, 10  # offsets in an IPv4 header
DF = 0x40
REALS = ("rs1", "rs2")
Frames = dict[str, list[bytes]]


def segment(flags: str, sport: int, **fields: Any) -> bytes:
    """A TCP segment to the VIP, as an IP packet."""
    return packets.tcp(flags, sport=sport, dst=VIP, **fields)[ETHERNET:]


def datagram(sport: int, size: int, **fields: Any) -> bytes:
    """A UDP datagram to the VIP, as an IP packet."""
    payload = Raw(bytes(n % 251 for n in range(size)))
    return packets.ip(inet.UDP(sport=sport, dport=5353) / payload, dst=VIP, **fields)[ETHERNET:]


# New flows go to rs2 and rs1 by turns. ECN's CE is left out: xdplb copies it and IPVS does not, on
# purpose (docs/fidelity.md).
ECT_0, ECT_1 = 2, 1
SENT = [
    segment("S", 40001),
    segment("A", 40001),
    segment("PA", 40001, payload=b"GET / HTTP/1.1\r\n\r\n"),
    segment("S", 40002, tos=0x10),
    segment("A", 40002, tos=0x10 | ECT_0, payload=bytes(1439)),  # 1499 bytes when wrapped
    segment("A", 40002, tos=ECT_1, payload=bytes(1440)),  # 1500
    segment("S", 40003, ip_flags="", id=7),
    segment("PA", 40003, ip_flags="", id=8, payload=b"odd"),
    segment("FA", 40003),
    segment("S", 40004, ttl=3),  # two, after the route host
    segment("S", 40005, ttl=255, tos=0xB8),
    segment("R", 40005),
    datagram(5000, 0),
    datagram(5001, 1),
    datagram(5000, 999, ip_flags="", tos=ECT_0),
    datagram(5001, 1452),
]


def record(lab: Lab) -> Frames:
    """Send SENT. Returns: the frames that each real server got, as tcpdump saw them there."""
    with TemporaryDirectory() as directory, _deaf(lab):
        files = {host: Path(directory, f"{host}.pcap") for host in REALS}
        recorders = [_listen(lab, host, file) for host, file in files.items()]
        _send(lab, SENT)
        time.sleep(2)
        for recorder in recorders:
            recorder.terminate()
            recorder.communicate()
        return {
            host: [frame for frame, _ in RawPcapReader(str(file))] for host, file in files.items()
        }


@contextmanager
def _deaf(lab: Lab) -> Iterator[None]:
    """Stop the real servers' answers. Otherwise the client's kernel would send its own packets."""
    chain = "type filter hook prerouting priority -300; ip protocol 4 drop;"
    for host in REALS:
        lab.run(host, "nft", f"table ip deaf {{ chain tunnel {{ {chain} }}; }}")
    try:
        yield
    finally:
        for host in REALS:
            lab.run(host, "nft", "delete table ip deaf")


def _listen(lab: Lab, host: str, file: Path) -> "subprocess.Popen[str]":
    # Packets that the kernel still holds when tcpdump ends are lost: so it delivers each at once.
    tcpdump = ["tcpdump", "--immediate-mode", "-ni", "ens33", "-Z", "root", "-U", "-w", str(file)]
    recorder = lab.start(host, [*tcpdump, "ip proto 4"])
    assert recorder.stdout
    while "listening" not in recorder.stdout.readline():
        assert recorder.poll() is None
    return recorder


def _send(lab: Lab, sent: list[bytes]) -> None:
    """Send IP packets on the client, unchanged, and so slowly that they stay in order."""
    with namespaces.entered(f"{lab.name}-client"):
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with sender:
        for packet in sent:
            sender.sendto(packet, (VIP, 0))
            time.sleep(0.05)


def comparable(frame: bytes) -> bytes:
    """A frame without the director's own choice: the outer ID if DF is not set.

    The outer checksum covers the ID, so it is checked here and removed too.
    """
    outer = frame[ETHERNET : ETHERNET + IP_HEADER]
    assert packets.checksum(outer) == 0
    if outer[FLAGS] & DF:
        return frame
    cleared = bytearray(frame)
    for field in (ID, CHECKSUM):
        cleared[ETHERNET + field : ETHERNET + field + 2] = bytes(2)
    return bytes(cleared)
