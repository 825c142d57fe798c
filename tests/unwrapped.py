# SPDX-License-Identifier: MIT
"""The real server's unwrapper (bpf/decap.c), attached in a network namespace of its own."""

import contextlib
import os
import subprocess
import uuid
from collections.abc import Iterator

from balancer import require_root
from scapy.packet import Packet

from xdplb.host import namespaces
from xdplb.kernel import libbpf
from xdplb.model.address import parse_address
from xdplb.realserver import unwrapper

VIP, RIP, DIP, CIP = "192.168.2.100", "192.168.2.220", "192.168.2.200", "192.168.1.200"
VIP6, RIP6, DIP6, CIP6 = (f"2001:db8:2::{n}" for n in ("100", "220", "200", "1"))


@contextlib.contextmanager
def quiet_namespace() -> Iterator[str]:
    """A namespace with an interface eth0 where no frames arrive. Yields: its name.

    At the end, the unwrapper on eth0 is detached.
    """
    require_root()
    name = f"xdplb-decap-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    namespaces.create(name)
    try:
        with namespaces.entered(name):
            veth = ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0"]
            subprocess.run(veth, check=True)
        yield name
        with namespaces.entered(name):
            unwrapper.detach("eth0")
    finally:
        namespaces.remove(name)


class Unwrapper:
    """The attached program, and the counters that moved since the test began."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.program = -1

    def trust(
        self, *, vips: tuple[str, ...] = (VIP, VIP6), directors: tuple[str, ...] = (DIP, DIP6)
    ) -> None:
        """Tell the program its VIPs and directors, and nothing else."""
        with namespaces.entered(self.name):
            told = [*map(parse_address, vips)], [*map(parse_address, directors)]
            unwrapper.attach("eth0", *told, frags=True)

    def begin(self) -> None:
        """Start counting."""
        self.trust()
        self.before = self._counters()

    def _counters(self) -> dict[str, int]:
        with namespaces.entered(self.name):
            [attachment] = unwrapper.attached()
        if self.program < 0:
            self.program = libbpf.obj_get(attachment.pins / "program")
        return attachment.counters

    def send(self, frame: Packet | bytes) -> tuple[int, bytes]:
        """Run the program on one frame."""
        run = libbpf.prog_test_run(self.program, bytes(frame))
        return run.action, run.frame

    @property
    def counted(self) -> dict[str, int]:
        """Exactly the counters that moved."""
        now = self._counters()
        return {name: now[name] - n for name, n in self.before.items() if now[name] != n}

    @classmethod
    @contextlib.contextmanager
    def attached(cls) -> Iterator["Unwrapper"]:
        """Compile once, and attach where no other frames arrive."""
        with quiet_namespace() as name:
            with namespaces.entered(name):
                unwrapper.attach("eth0", [parse_address(VIP)], frags=True)
            yield cls(name)
