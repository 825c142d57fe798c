# SPDX-License-Identifier: MIT
"""Connections outlive a director that is detached, and a change of the scheduler."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from farm import real
from fivehosts import RS1, RS2, SMALL, XDPLB, Lab

from xdplb.host import namespaces, netlink
from xdplb.kernel import libbpf
from xdplb.lab import VIP

pytestmark = [pytest.mark.root, pytest.mark.slow]

AT = ("-t", f"{VIP}:80")
CONNECTIONS = 40
SIZE = 10 << 20  # bytes, of the page /large
BY_PORT = 'flags = ["mh-port"]'  # there is one client: by its address alone it has one real
SECOND = "192.168.2.201"


@pytest.fixture(autouse=True)
def _detached(cluster: Lab) -> Iterator[None]:
    """Nothing is attached and no service is left after a test."""
    yield
    cluster.try_xdplb("flush")
    cluster.try_xdplb("detach", "ens33")


class Downloads:
    """Forty downloads under way, read slowly: the client acknowledges as it reads."""

    def __init__(self, lab: Lab, stack: contextlib.ExitStack) -> None:
        self.sockets: list[socket.socket] = []
        with namespaces.entered(f"{lab.name}-client"):
            for _ in range(CONNECTIONS):
                each = stack.enter_context(socket.socket())
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
                each.settimeout(20)
                each.connect((VIP, 80))
                each.sendall(b"GET /large HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n")
                self.sockets.append(each)
        self.got = [len(each.recv(1 << 14)) for each in self.sockets]

    def read_on(self, seconds: float) -> None:
        """Read what comes, which may be nothing."""
        for each in self.sockets:
            each.setblocking(False)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for at, each in enumerate(self.sockets):
                with contextlib.suppress(BlockingIOError):
                    self.got[at] += len(each.recv(1 << 10))
            time.sleep(0.001)
        for each in self.sockets:
            each.settimeout(20)

    def finish(self) -> list[str]:
        """Read all to their ends. Returns: what went wrong with each that did not come whole."""
        wrong = []
        for at, each in enumerate(self.sockets):
            try:
                while more := len(each.recv(1 << 20)):
                    self.got[at] += more
            except OSError as error:
                wrong.append(f"{error} after {self.got[at]} bytes")
                continue
            if not SIZE <= self.got[at] < SIZE + 1000:  # with the headers
                wrong.append(f"{self.got[at]} bytes")
        return wrong


@contextlib.contextmanager
def downloads(lab: Lab) -> Iterator[Downloads]:
    """See Downloads."""
    with contextlib.ExitStack() as stack:
        yield Downloads(lab, stack)


def resets(lab: Lab) -> int:
    """How many resets the director's own stack has sent."""
    text = lab.output("lvs", "nstat", "-asz", "TcpOutRsts")
    return int(text.split()[text.split().index("TcpOutRsts") + 1])


def test_detach_resets_nobody(cluster):
    """The VIP goes before the program: no client hears from the director's own stack, and after
    attach again each connection goes on.
    """
    cluster.attach()
    cluster.balance("mh", more=BY_PORT)
    before = resets(cluster)
    with downloads(cluster) as under_way:
        reader = threading.Thread(target=under_way.read_on, args=(1.5,))
        reader.start()  # acknowledgements come all the while, and nobody answers them
        cluster.xdplb("detach", "ens33")
        reader.join()
        cluster.attach()

        assert [] == under_way.finish()
    assert before == resets(cluster)


def run(argv: list[str], text: str = "") -> str:
    """Run a command with this input. Returns: what it printed."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
    return done.stdout


@pytest.fixture
def second(cluster: Lab) -> Iterator[None]:
    """Another director on the second network, `lvs2`: of the same services, without the VIP."""
    with real(cluster, "lvs2", SECOND):
        inside = ["nsenter", f"--net=/run/netns/{cluster.name}-lvs2", "--"]
        teardown = ["realserver", "teardown", "--netns", f"{cluster.name}-lvs2"]
        run([XDPLB, *teardown])
        with namespaces.entered(f"{cluster.name}-net2"):
            _receive_xdp_frames("lvs2")
        sizes = [f"--tune={name}={value}" for name, value in SMALL.items()]
        subprocess.run(
            [*inside, XDPLB, "attach", "ens33", *sizes], check=True, stdout=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            subprocess.run(
                [*inside, XDPLB, "detach", "ens33"], check=True, stdout=subprocess.DEVNULL
            )


def _receive_xdp_frames(port: str) -> None:
    program = libbpf.prog_load(bytes.fromhex("b7000000020000009500000000000000"))  # passes all
    try:
        netlink.attach_xdp(port, program)
    finally:
        os.close(program)


def test_another_director_takes_over(cluster, second):
    """Two directors of mh with one configuration: the router turns to the second one, the first is
    detached, and the connections go on by way of the second.
    """
    cluster.attach()
    cluster.balance("mh", more=BY_PORT)
    at = ["nsenter", f"--net=/run/netns/{cluster.name}-lvs2", "--", XDPLB]
    subprocess.run([*at, "vip", "add", "--force", VIP], check=True)  # the first one answers for it
    saved = cluster.xdplb("save")
    subprocess.run(
        [*at, "apply", "-"], input=saved, text=True, check=True, stdout=subprocess.DEVNULL
    )
    before = resets(cluster)
    with downloads(cluster) as under_way:
        cluster.xdplb("detach", "ens33")
        cluster.output("route", "ip", "route", "replace", f"{VIP}/32", "via", SECOND)
        try:
            assert [] == under_way.finish()
        finally:
            cluster.output("route", "ip", "route", "delete", f"{VIP}/32")
    assert before == resets(cluster)
    assert RS1 in run([*at, "list", "--stats"])


@pytest.mark.parametrize(
    ("old", "new", "more"),
    [("mh", "rr", BY_PORT), ("sh", "wrr", 'flags = ["sh-port"]'), ("rr", "mh", "")],
    ids=lambda each: each if " " not in each else "",
)
def test_a_change_of_the_scheduler_breaks_nothing(cluster, old, new, more):
    """Forty connections under way end as they would have, and new ones go by the new scheduler."""
    cluster.attach()
    cluster.balance(old, more=more)
    with downloads(cluster) as under_way:
        under_way.read_on(0.2)
        cluster.xdplb("service", "edit", *AT, "-s", new)
        under_way.read_on(0.2)
        fetched = cluster.fetch(4)

        assert [] == under_way.finish()
    if new != "mh":
        assert {"rs1", "rs2"} == set(fetched)
    (service,) = cluster.json("list", "--stats")
    assert new == service["scheduler"]
    assert [RS1, RS2] == [each["address"] for each in service["reals"]]
    assert "pass_no_flow" not in cluster.counters()
