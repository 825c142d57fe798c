# SPDX-License-Identifier: MIT
"""A director that forgot all flows: connections of mh go on, for its ring alone says where."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from farm import real
from fivehosts import RS1, RS2, XDPLB, Lab

from xdplb.host import namespaces
from xdplb.lab import VIP

pytestmark = [pytest.mark.root, pytest.mark.slow]

RS3 = "192.168.2.230"
BY_PORT = 'flags = ["mh-port"]'  # there is one client: by its address alone it has one real
CONNECTIONS = 24
ASK, REST = b"GET / HTTP/1.1\r\nHost: vip\r\n", b"Connection: close\r\n\r\n"


@pytest.fixture(scope="module")
def farm(cluster: Lab) -> Iterator[Lab]:
    """The reference case with three real servers."""
    with real(cluster, "rs3", RS3):
        yield cluster


@pytest.fixture
def balanced(farm: Lab) -> Iterator[Lab]:
    """A director of mh, by the clients' ports, over three reals."""
    farm.attach()
    farm.balance("mh", [RS1, RS2, RS3], more=BY_PORT)
    yield farm
    farm.xdplb("flush")
    farm.xdplb("detach", "ens33")


@contextlib.contextmanager
def connections(lab: Lab) -> Iterator[list[socket.socket]]:
    """Connections to the VIP over which half a request was sent."""
    with contextlib.ExitStack() as stack:
        with namespaces.entered(f"{lab.name}-client"):
            opened = [
                stack.enter_context(socket.create_connection((VIP, 80), timeout=10))
                for _ in range(CONNECTIONS)
            ]
        for connection in opened:
            connection.sendall(ASK)
        time.sleep(0.2)  # the reals have them
        yield opened


def answers(opened: list[socket.socket]) -> list[str]:
    """Send the rest of each request: who answered; what went wrong, if anything did."""
    found = []
    for connection in opened:
        try:
            connection.sendall(REST)
            found.append(connection.makefile().read().splitlines()[-1])
        except OSError as error:
            found.append(str(error))
    return found


def owners(lab: Lab) -> int:
    """How many reals have served something since they were added."""
    (service,) = lab.json("list", "--stats")
    return len([each for each in service["reals"] if each["stats"]["packets"]])


def test_connections_outlive_the_flows(balanced):
    """Detached and attached again, all connections are answered by whom they were opened to."""
    with connections(balanced) as opened:
        reals = owners(balanced)
        balanced.xdplb("detach", "ens33")
        balanced.attach()

        answered = answers(opened)

    assert 3 == reals
    assert {"rs1", "rs2", "rs3"} == set(answered)
    assert [] == balanced.json("list", "--flows")


def test_a_download_outlives_the_flows(balanced):
    """10 MiB that began before arrive whole, though for seconds nobody forwards."""
    balanced.balance("mh", [RS1, RS2], more=BY_PORT)  # those two have a large page
    argv = ["curl", "-sS", "--limit-rate", "2M", "-m", "60", f"http://{VIP}/large"]
    downloads = [balanced.start("client", argv) for _ in range(4)]
    time.sleep(1)

    balanced.xdplb("detach", "ens33")
    balanced.attach()

    sizes = [len(download.communicate(timeout=60)[0]) for download in downloads]
    assert [10 << 20] * 4 == sizes


def test_connections_outlive_a_killed_attach(balanced):
    """Killed at any point, attach has done nothing, or its work is finished by the next command."""
    for after_s in (0.2, 0.6, 1.2, 2.0, 2.5, 3.0):
        with connections(balanced) as opened:
            attach = balanced.start("lvs", [XDPLB, "attach", "ens33"])
            time.sleep(after_s)
            attach.kill()
            attach.communicate()
            balanced.xdplb("server", "edit", "-t", f"{VIP}:80", "-r", RS1, "-w", "1")

            assert {"rs1", "rs2", "rs3"} == set(answers(opened))
    assert not balanced.instance.journal.exists()


def test_connections_outlive_another_layout(balanced):
    """Tables of other sizes are other tables: the flows are lost, and mh does not need them."""
    with connections(balanced) as opened:
        said = balanced.attach(flow_buckets=8192, max_reals=2048)

        assert {"rs1", "rs2", "rs3"} == set(answers(opened))
    assert "recorded flows are lost, services are kept" in said
    assert [1, 1, 1] == [r["weight"] for r in balanced.json("list")[0]["reals"]]


def test_a_drained_real_keeps_its_connections_through_an_upgrade(balanced):
    """A transition is part of the tables: attach again, and its flows stay where they are."""
    with connections(balanced) as opened:
        balanced.xdplb("server", "drain", "-t", f"{VIP}:80", "-r", RS3)
        balanced.xdplb("attach", "ens33")

        assert {"rs1", "rs2", "rs3"} == set(answers(opened))
    assert "rs3" not in balanced.fetch(8)


def test_draining_all_keeps_connections(balanced):
    """With nobody left for new ones, those that there are go on."""
    with connections(balanced) as opened:
        for address in (RS1, RS2, RS3):
            balanced.xdplb("server", "drain", "-t", f"{VIP}:80", "-r", address)

        assert {"rs1", "rs2", "rs3"} == set(answers(opened))
