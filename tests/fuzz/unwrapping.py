# SPDX-License-Identifier: MIT
"""The real server's unwrapper (bpf/decap.c) and its reference, side by side."""

import contextlib
import ctypes
from collections.abc import Iterator
from ipaddress import ip_network
from random import Random

from reference.unwrapper import Unwrapper
from reference.verdict import Verdict
from unwrapped import quiet_namespace

from fuzz import frames, tunnels
from fuzz.arrival import Arrives, Disagreement, Judge
from fuzz.runner import Runner
from xdplb.host import namespaces
from xdplb.kernel import libbpf
from xdplb.model.address import parse_address, parse_prefix
from xdplb.realserver import unwrapper


class Unwrapping:
    """The program, attached in a namespace and run on one CPU, and its reference."""

    program = "decap"

    def __init__(self, namespace: str, cpu: int) -> None:
        self._namespace = namespace
        self._trust([tunnels.VIPS[0]], [])
        with namespaces.entered(namespace):
            [attachment] = unwrapper.attached()
        pins = attachment.pins
        self.counters = list(attachment.counters)
        self._judge = Judge(self.counters, self._counted)
        self.runner = Runner(libbpf.obj_get(pins / "program"))
        self._fd = libbpf.obj_get(pins / "counters")
        size = 8 * len(self.counters)
        self._all = ctypes.create_string_buffer(size * libbpf.possible_cpus())
        self._mine = memoryview(self._all).cast("B")[cpu * size :][:size].cast("Q")
        self._zero = ctypes.byref(ctypes.c_uint32(0))
        self._lookup = libbpf._lib().bpf_map_lookup_elem

    @classmethod
    @contextlib.contextmanager
    def loaded(cls, cpu: int) -> Iterator["Unwrapping"]:
        """Compile and attach it where no other frames arrive, and leave nothing behind."""
        with quiet_namespace() as name:
            yield cls(name, cpu)

    def _trust(self, vips: list[str], directors: list[str]) -> None:
        with namespaces.entered(self._namespace):
            told = [*map(parse_address, vips)], [*map(parse_prefix, directors)]
            unwrapper.attach("eth0", *told, frags=True)

    def begin(self, random: Random) -> None:
        """Trust some directors, or anybody; have some VIPs."""
        vips = random.sample(tunnels.VIPS, random.choice((1, 3, 4, 4)))
        directors = random.sample(tunnels.DIRECTORS, random.choice((0, 1, 3, 4, 4)))
        self._trust(vips, directors)
        trusted = [*map(ip_network, directors)] or None
        self.reference = Unwrapper({parse_address(vip).packed for vip in vips}, trusted)
        self._judge.begin()

    def steps(self, random: Random) -> Iterator[Arrives]:
        """Frames."""
        yield from (Arrives(cut, 0) for cut in frames.lengths(tunnels.frame(random)))
        while True:
            yield Arrives(tunnels.frame(random), 0)

    def _counted(self) -> list[int]:
        self._lookup(self._fd, self._zero, self._all)
        return self._mine.tolist()

    def arrive(self, frame: bytes, ifindex: int) -> Verdict | Disagreement:
        """A frame comes in. Returns: its verdict, if both agree about it."""
        action, sent = self.runner.run(frame, ifindex)
        return self._judge.judge(frame, self.reference.handle(frame), action, sent)

    def check_memory(self) -> str:
        """It remembers nothing."""
        return ""
