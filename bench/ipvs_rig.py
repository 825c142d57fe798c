# SPDX-License-Identifier: MIT
"""Two directors on the same packets: IPVS and xdplb, on one interface of one host, in turn.

    tester:   transmit (live frames) → lvs ══ veth ══ ens33 → drop, prepend, xdplb, or pass and IPVS
              receive (counts)       ← lvs ══ veth ══ ens33 ←

Both have the same services, reals, addresses and neighbours. The program in ens33's link decides
which of them a packet meets. Nothing is cleaned up: run it on a machine that is thrown away.
"""

import ctypes
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

import psutil
from end_to_end import Attached
from frames import checksum, floor_flags
from hosts import COMMAND, INTERFACE
from rig import DIP, DIP_MAC, FIRST_CLIENT, FIRST_REAL, FIRST_VIP, GATEWAY, GATEWAY_MAC, HERE

from xdplb.host import namespaces
from xdplb.kernel import libbpf, loader, program_cache, program_text
from xdplb.kernel.tables import decode_type, map_memory

TESTER, DIRECTOR, PORT = "tester", "director", "lvs"
INSTANCE = "bench-ipvs"
TURNS = 1 << 16  # of the sender, between two readings of the clock
SYN, ACK = 0x02, 0x10
UDP, TCP = 17, 6
CONN_TAB_BITS = 20  # the largest; with IPVS's default, 12, 64 k flows have chains of 16


@dataclass(frozen=True)
class Service:
    """A service of both directors, number m at 10.2.0.0 + m / 8, port 80 + m % 8."""

    number: int
    scheduler: str
    protocol: int
    reals: int

    @property
    def vip(self) -> IPv4Address:
        """The service's address."""
        return FIRST_VIP + (self.number >> 3)

    @property
    def port(self) -> int:
        """The service's port."""
        return 80 + (self.number & 7)

    def addresses(self) -> list[IPv4Address]:
        """Its reals. All services share them."""
        return [FIRST_REAL + i for i in range(self.reals)]

    def toml(self) -> str:
        """The service as text for `xdplb apply`."""
        name = "udp" if self.protocol == UDP else "tcp"
        reals = ", ".join(f'"{real}"' for real in self.addresses())
        return (
            f'[[service]]\n{name} = "{self.vip}:{self.port}"\n'
            f'scheduler = "{self.scheduler}"\nreals = [{reals}]\n'
        )

    def ipvsadm(self) -> str:
        """The service as text for `ipvsadm -R`."""
        at = f"-{'u' if self.protocol == UDP else 't'} {self.vip}:{self.port}"
        lines = [f"-A {at} -s {self.scheduler}"]
        lines += [f"-a {at} -r {real}:{self.port} -i" for real in self.addresses()]
        return "\n".join(lines) + "\n"

    def frame(self, flags: int = ACK) -> bytes:
        """A packet of flow 0 to the service: 60 bytes, with DF."""
        ip = bytes.fromhex("4500002e000040004000 0000".replace(" ", ""))
        ip = ip[:9] + bytes([self.protocol]) + ip[10:] + FIRST_CLIENT.packed + self.vip.packed
        ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
        ports = b"\x80\x00" + self.port.to_bytes(2, "big")
        if self.protocol == UDP:
            rest = ports + (26).to_bytes(2, "big") + bytes(20)
        else:
            rest = ports + bytes.fromhex("0000000100000001") + bytes([0x50, flags]) + bytes(12)
        return DIP_MAC + GATEWAY_MAC + b"\x08\x00" + ip + rest


def run(*words: str, stdin: str | None = None, netns: str | None = None) -> str:
    """Runs a command. Returns: its output. Raises: CalledProcessError."""
    enter = [] if netns is None else ["nsenter", f"--net=/run/netns/{netns}", "--"]
    done = subprocess.run([*enter, *words], input=stdin, stdout=subprocess.PIPE, text=True)
    done.check_returncode()
    return done.stdout


def build_hosts(services: Sequence[Service]) -> None:
    """Makes the two namespaces, their veth, addresses and neighbours; no offload, filter or GRO."""
    reals = max(service.reals for service in services)
    director_mac, gateway_mac = DIP_MAC.hex(":"), GATEWAY_MAC.hex(":")
    for name in (TESTER, DIRECTOR):
        run("ip", "netns", "add", name)
    cores = os.cpu_count()
    run(
        "ip",
        "-batch",
        "-",
        stdin=f"""
        link add {PORT} numrxqueues {cores} numtxqueues {cores} netns {TESTER} \
            type veth peer name {INTERFACE} address {director_mac} \
            numrxqueues {cores} numtxqueues {cores} netns {DIRECTOR}
    """,
    )
    run("ip", "-batch", "-", netns=TESTER, stdin=f"link set lo up\nlink set {PORT} up\n")
    run(
        "sh",
        "-ec",
        "echo 0 | tee /proc/sys/net/ipv4/conf/*/rp_filter >/dev/null;"
        "echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6 >/dev/null",
        netns=DIRECTOR,
    )
    lines = [
        "link set lo up",
        f"link set {INTERFACE} up",
        f"address add {DIP}/24 dev {INTERFACE}",
        f"neigh add {GATEWAY} lladdr {gateway_mac} nud permanent dev {INTERFACE}",
        f"route add default via {GATEWAY}",
        f"route add {FIRST_REAL - 1}/16 dev {INTERFACE}",
        *(f"address add {vip}/32 dev lo" for vip in sorted({s.vip for s in services})),
        *(
            f"neigh add {FIRST_REAL + i} lladdr {gateway_mac} nud permanent dev {INTERFACE}"
            for i in range(reals)
        ),
    ]
    run("ip", "-batch", "-", netns=DIRECTOR, stdin="\n".join(lines) + "\n")
    for netns, ifname in ((TESTER, PORT), (DIRECTOR, INTERFACE)):
        words = [word for feature in ("tx", "tso", "gso", "gro") for word in (feature, "off")]
        run("ethtool", "-K", ifname, *words, netns=netns)


def xdplb(*words: str, stdin: str | None = None) -> str:
    """Runs an `xdplb` command on the director."""
    return run(str(COMMAND), "--instance", INSTANCE, *words, netns=DIRECTOR, stdin=stdin)


def balance(services: Sequence[Service]) -> None:
    """Gives both directors the services and reals."""
    xdplb("apply", "-", stdin="".join(service.toml() for service in services))
    run("ipvsadm", "-C", netns=DIRECTOR)
    run("ipvsadm", "-R", netns=DIRECTOR, stdin="".join(service.ipvsadm() for service in services))


class Ends:
    """The loaded ipvs_ends.c. Make and use it in the tester's namespace."""

    def __init__(self) -> None:
        flags = floor_flags(46)  # bytes of IP in each frame
        others = ("receive", "drop", "prepend", "pass")
        source = program_text.read_source("ipvs_ends.c", ("transmit", *others), flags, HERE)
        self._program = loader.load(program_cache.compiled(source))
        maps = self._program.maps
        self._ifindex = socket.if_nametoindex(PORT)
        leaf = decode_type(self._program.tables["plans"]["leaf"])
        self._plan = map_memory(maps["plans"], leaf, 1)[0]
        self._received = maps["received"]
        self._leaf = decode_type(self._program.tables["received"]["leaf"])
        self._dropped = maps["dropped"]
        # Attached anywhere, it keeps its place in the XDP dispatcher: else each run would rewrite
        # the kernel's text twice, and wait for it.
        lo = socket.if_nametoindex("lo")
        libbpf.link_create(self._program.fd, lo, libbpf.XDP_FLAGS_SKB_MODE)
        self.programs = {name: self._program.functions[name] for name in others}
        self._sink: int | None = None

    def take_frames(self, wanted: bool) -> None:
        """Makes the reals drop frames by XDP (wanted), or leave them to the reals' stack.

        XDP_TX needs XDP there. For packets of the director's stack that costs more: veth copies
        each into a frame. The reals' stack drops all packets at once, because of their MAC.
        """
        if wanted and self._sink is None:
            flag = libbpf.XDP_FLAGS_DRV_MODE
            self._sink = libbpf.link_create(self.programs["receive"], self._ifindex, flag)
        elif not wanted and self._sink is not None:
            os.close(self._sink)
            self._sink = None

    def plan(
        self, service: Service, flows: int, flags: int = ACK, first: int = 0, astray: bool = False
    ) -> None:
        """Sets what is sent from now on: this many flows in turn (0: 2^32), from `first` on.

        astray: to an unknown MAC: the director's stack drops the packet as soon as it has an skb.
        """
        frame = service.frame(flags)
        if astray:
            frame = b"\x02\xff" + frame[2:]
        words = frame.ljust(64, b"\0")
        self._plan.word[:] = [
            int.from_bytes(words[i : i + 8], "little") for i in range(0, len(words), 8)
        ]
        without = frame[14:24] + bytes(6) + frame[30:34]  # neither checksum nor source
        self._plan.sum = 0xFFFF ^ checksum(without)
        self._plan.flows = flows
        self._plan.next = first
        self._plan.interval_ns = 0
        self._frame = frame

    def send(self, packets: int) -> None:
        """Sends packets of the plan."""
        fd = self._program.fd
        libbpf.prog_test_run(fd, self._frame, ifindex=self._ifindex, repeat=packets, live=True)

    def offer(self, rate: float, seconds: float) -> tuple[int, float]:
        """Sends at an even rate (packets per second). Returns: packets sent, seconds taken."""
        self._plan.interval_ns = round(1e9 / rate)
        self._plan.due_ns = start = time.monotonic_ns()
        before = self._plan.sent
        while (took := time.monotonic_ns() - start) < seconds * 1e9:
            self.send(TURNS)
        self._plan.interval_ns = 0
        return self._plan.sent - before, took / 1e9

    def sent(self) -> int:
        """How many packets were sent since the start."""
        return int(self._plan.sent)

    def received(self) -> tuple[int, int]:
        """How many packets came to the reals since the start: plain, wrapped."""
        values = libbpf.read_per_cpu(self._received, 0, ctypes.sizeof(self._leaf))
        counted = [self._leaf.from_buffer_copy(value) for value in values]
        return sum(c.plain for c in counted), sum(c.wrapped for c in counted)

    def dropped(self) -> int:
        """How many packets `drop` has dropped since the start."""
        return sum(int.from_bytes(v, "little") for v in libbpf.read_per_cpu(self._dropped, 0, 8))


@dataclass
class Rig:
    """The whole rig. What may be in the director's place:

    drop            a program that drops: the rig's own cost
    prepend         a constant outer header: the least cost of any XDP director
    xdplb           the director that `xdplb attach` loaded
    ipvs            the kernel's IPVS
    ipvs-xdp-sink   the same, with reals that run XDP
    skb             the kernel's stack, which drops the packets
    """

    ends: Ends
    attached: Attached
    _director: str = "xdplb"

    def put(self, director: str) -> None:
        """Puts one of these in the director's place."""
        self._director = director
        programs = {**self.ends.programs, "xdplb": self.attached.fd}
        self.attached.put(programs.get(director, programs["pass"]))
        self.ends.take_frames(director not in ("ipvs", "skb"))

    def arrived(self) -> int:
        """How many packets ended where they should since the start."""
        if self._director == "drop":
            return self.ends.dropped()
        if self._director == "skb":
            return self.ends.sent()  # nobody counts them
        if self._director == "ipvs":
            return psutil.net_io_counters(pernic=True)[PORT].packets_recv
        return self.ends.received()[1]


@contextmanager
def rig(services: Sequence[Service], balanced: Sequence[Service]) -> Iterator[Rig]:
    """The rig for all services, some of them balanced. This thread is in the tester's namespace."""
    run("modprobe", "ip_vs", f"conn_tab_bits={CONN_TAB_BITS}")
    build_hosts(services)
    xdplb("attach", INTERFACE, "--mode", "native")
    balance(balanced)
    with ExitStack() as stack:
        stack.enter_context(namespaces.entered(TESTER))
        attached = Attached(INSTANCE)
        stack.callback(attached.close)
        yield Rig(Ends(), attached)
