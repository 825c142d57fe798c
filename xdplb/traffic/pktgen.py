# SPDX-License-Identifier: MIT
"""The kernel's packet generator: UDP over IPv4, driven by text written to /proc/net/pktgen.

It sends below the IP stack, past routes and firewalls, from addresses that need not be its own. So
a plan names its interface, its destination and its next hop, all of which are checked before a word
is written. Documentation/networking/pktgen.rst in the kernel's source explains the words.
"""

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from xdplb.errors import KernelRefused, MissingPart, NoPermission, UsageError, XdplbError
from xdplb.traffic.nexthop import transmit_queues

PROC = Path("/proc/net/pktgen")
FCS = 4  # bytes that end a frame on the wire, which pktgen does not count
FASTEST = 1_000_000_000  # packets a second: pktgen divides a second into ns
SMALLEST, LARGEST = 64, 9018  # bytes of a frame with its FCS
# Frame sizes and their shares, 7:4:1. The usual third, 1518, would not fit a tunnel in 1500 bytes.
IMIX = ((64, 7), (594, 4), (1498, 1))

# No single host has one of these: this network, loopback, groups and everybody.
_NOBODYS = [IPv4Network(each) for each in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")]
_SO_FAR = re.compile(r"pkts-sofar: (\d+)")
_DONE = re.compile(r"OK: (\d+)\(\S+ usec, (\d+) \(")
_ERRORS = re.compile(r"errors: (\d+)")


@dataclass(frozen=True)
class Plan:
    """What is sent where. Sizes are in bytes with the FCS; a rate of 0 is as fast as it can.

    `mac` is the next hop's: it may be found once all else is known to be well-formed.
    """

    device: str
    destination: IPv4Address
    port: int
    seconds: float
    mac: str = ""
    sources: tuple[IPv4Address, IPv4Address] | None = None  # first and last; else the device's own
    ports: tuple[int, int] = (1024, 65535)
    sizes: Sequence[tuple[int, int]] = ((SMALLEST, 1),)  # each with its share
    queues: int = 1
    rate: int = 0  # packets a second, of all queues together

    def __post_init__(self) -> None:
        if any(self.destination in each for each in _NOBODYS) or not self.port:
            raise UsageError(
                f"{self.destination}:{self.port} is no service's address", "give one VIP:PORT"
            )
        if self.sources:
            first, last = self.sources
            if any(first <= each[-1] and each[0] <= last for each in _NOBODYS):
                raise UsageError(
                    f"sources {first}-{last} are not all hosts' addresses",
                    "give a range of a network that is yours: replies go there",
                )
        for size, _ in self.sizes:
            if not SMALLEST <= size <= LARGEST:
                raise UsageError(
                    f"frames of {size} bytes cannot be sent",
                    f"give {SMALLEST} … {LARGEST}, or imix",
                )
        if 0 < self.rate < self.queues:
            raise UsageError(f"{self.rate} packets a second are too few", "give one for each queue")


@dataclass(frozen=True)
class Sent:
    """What one queue's thread reports of itself."""

    queue: int
    packets: int
    errors: int
    seconds: float


def script(plan: Plan) -> list[tuple[str, str]]:
    """What is written before the start: (file below /proc/net/pktgen, line). Pure."""
    lines = []
    for queue in range(plan.queues):
        device = f"{plan.device}@{queue}"
        lines.append((f"kpktgend_{queue}", f"add_device {device}"))
        words = [
            "count 0",  # until it is stopped
            "clone_skb 0",  # each packet has a flow of its own
            f"queue_map_min {queue}",
            f"queue_map_max {queue}",
            f"dst_mac {plan.mac}",
            f"dst_min {plan.destination}",
            f"dst_max {plan.destination}",
            f"udp_dst_min {plan.port}",
            f"udp_dst_max {plan.port}",
            f"udp_src_min {plan.ports[0]}",
            f"udp_src_max {plan.ports[1]}",
            "flag UDPSRC_RND",
            *_source_words(plan),
            *_size_words(plan.sizes),
            f"ratep {plan.rate // plan.queues}" if plan.rate else "delay 0",
        ]
        lines += [(device, word) for word in words]
    return lines


def _source_words(plan: Plan) -> list[str]:
    if plan.sources is None:
        return []
    first, last = plan.sources
    return [f"src_min {first}", f"src_max {last}", "flag IPSRC_RND"]


def _size_words(sizes: Sequence[tuple[int, int]]) -> list[str]:
    if len(sizes) == 1:
        return [f"pkt_size {sizes[0][0] - FCS}"]
    return ["imix_weights " + " ".join(f"{size - FCS},{share}" for size, share in sizes)]


def parse_result(queue: int, text: str) -> Sent:
    """What a device's file says at the end. Raises: XdplbError if it did not end well."""
    done, errors = _DONE.search(text), _ERRORS.findall(text)
    if not done:
        said = text.partition("Result: ")[2].strip() or "nothing"
        raise XdplbError(f"pktgen did not send by queue {queue}; it said: {said}")
    return Sent(queue, int(done[2]), int(errors[-1]), int(done[1]) / 1e6)


def sent_so_far(plan: Plan) -> dict[str, int]:
    """How many packets each queue has sent while it is at it; before and afterwards, nothing."""
    found = {}
    for queue in range(plan.queues):
        with contextlib.suppress(OSError):
            text = (PROC / f"{plan.device}@{queue}").read_text()
            found.update({f"queue {queue}": int(n) for n in _SO_FAR.findall(text)})
    return found


def run(plan: Plan) -> list[Sent]:
    """Sends for the plan's time, and leaves pktgen as it was found: without devices.

    Raises: NoPermission, MissingPart, UsageError, KernelRefused, XdplbError.
    """
    require(plan)
    with _devices(plan):
        # "start" returns when all threads have ended, which only "stop" makes them.
        refused: list[KernelRefused] = []
        starter = threading.Thread(target=_start, args=(refused,))
        starter.start()
        try:
            time.sleep(plan.seconds)
        finally:
            _write("pgctrl", "stop")
            starter.join()
        if refused:
            raise refused[0]
        return [
            parse_result(queue, (PROC / f"{plan.device}@{queue}").read_text())
            for queue in range(plan.queues)
        ]


def require(plan: Plan) -> None:
    """Sees to it that this kernel can do it, and that nobody else is at it. Raises: see run()."""
    if os.geteuid():
        raise NoPermission("pktgen is root's", "run it as root")
    if not PROC.exists():
        _load_module()
    threads = list(PROC.glob("kpktgend_*"))
    if plan.queues > len(threads):
        raise UsageError(f"there are {len(threads)} cores", f"give --queues {len(threads)} or less")
    queues = transmit_queues(plan.device)
    if plan.queues > queues:
        raise UsageError(
            f"{plan.device} has {queues} transmit queues",
            f"give --queues {queues} or less, or see `ethtool -L {plan.device}`",
        )
    for thread in threads:
        users = re.findall(r"^(?:Running|Stopped): (\S.*)$", thread.read_text(), re.MULTILINE)
        if users:
            raise XdplbError(
                f"pktgen is in use: {users[0].strip()} on {thread.name}",
                f"when that has ended: echo rem_device_all > {thread}",
            )


def _load_module() -> None:
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["modprobe", "pktgen"], capture_output=True)
    if not PROC.exists():
        raise MissingPart(
            "this kernel has no pktgen (modprobe pktgen)",
            "boot one with CONFIG_NET_PKTGEN, as Debian's linux-image-amd64 is",
        )


@contextlib.contextmanager
def _devices(plan: Plan) -> Iterator[None]:
    try:
        for file, line in script(plan):
            _write(file, line)
        yield
    finally:
        for queue in range(plan.queues):
            _write(f"kpktgend_{queue}", "rem_device_all")


def _start(refused: list[KernelRefused]) -> None:
    try:
        _write("pgctrl", "start")
    except KernelRefused as error:
        refused.append(error)


def _write(file: str, line: str) -> None:
    try:
        (PROC / file).write_text(f"{line}\n")
    except OSError as error:
        refusal = KernelRefused(
            f"pktgen refuses '{line}' for {file}: {os.strerror(error.errno or 0)}"
        )
        refusal.errno = error.errno or 0
        raise refusal from error
