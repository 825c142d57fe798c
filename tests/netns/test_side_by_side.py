# SPDX-License-Identifier: MIT
"""Commands beside each other, and beside traffic: nobody waits long, nobody sees half of it."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from fivehosts import RS1, RS2, SMALL, XDPLB, Lab

from xdplb import lab as labs
from xdplb.director import store
from xdplb.host import namespaces
from xdplb.kernel import program_cache
from xdplb.lab import VIP

pytestmark = [pytest.mark.root, pytest.mark.slow]

AT = ("-t", f"{VIP}:80")
PACKETS, BURST = 20_000, 40


@pytest.fixture(scope="module")
def director(cluster: Lab) -> Iterator[Lab]:
    """An attached director of two reals."""
    cluster.attach()
    yield cluster
    cluster.xdplb("detach", "ens33")


def test_zero_loses_nothing(director):
    """Counters are cleared while they count: what `zero` took away and what is shown at the end
    are all the packets that were sent, of the service and of the director.
    """
    director.balance("rr", service=f'udp = "{VIP}:53"')
    state = store.read_state(director.instance)
    tables = store.open_tables(director.instance, state)
    stats, counters = tables.real_stats._cleared, tables.counters._cleared[0]
    indices = list(state.allocated.all_indices())
    sent = threading.Thread(target=send, args=(director,))

    def cleared() -> tuple[int, int]:
        return sum(stats[i].packets for i in indices), counters.forwarded

    director.xdplb("zero")
    start = cleared()
    sent.start()
    rounds = 0
    while sent.is_alive():
        director.xdplb("zero")
        rounds += 1
    sent.join()
    time.sleep(0.3)
    taken = [now - then for now, then in zip(cleared(), start, strict=True)]

    (service,) = director.json("list", "--stats")
    shown = [service["stats"]["packets"], director.counters().get("forwarded", 0)]
    assert rounds > 1
    assert all(0 < each for each in taken)
    assert [PACKETS] * 2 == [a + b for a, b in zip(taken, shown, strict=True)]
    tables.close()


def send(lab: Lab) -> None:
    """Send datagrams to the service, in bursts that no queue on the way drops."""
    with (
        namespaces.entered(f"{lab.name}-client"),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source,
    ):
        for _ in range(PACKETS // BURST):
            for _ in range(BURST):
                source.sendto(b"?", (VIP, 53))
            time.sleep(0.005)


def test_readers_during_upgrades(director):
    """Attach changes the tables' layout again and again: who reads meanwhile reads one of them."""
    director.balance("rr")
    others = {**SMALL, "flow_buckets": 8192, "max_reals": 2048}
    stop = threading.Event()
    told: list[subprocess.CompletedProcess[str]] = []

    def read(*words: str) -> None:
        while not stop.is_set():
            told.append(director.try_xdplb(*words))

    readers = [
        threading.Thread(target=read, args=words) for words in (["list", "--stats"], ["status"])
    ]
    for each in readers:
        each.start()
    for sizes in (others, SMALL) * 2:
        said = director.attach(**sizes)
        assert "services are kept" in said
    stop.set()
    for each in readers:
        each.join()

    assert len(told) > 4
    for done in told:
        assert (0, "") == (done.returncode, done.stderr)
        assert RS2 in done.stdout or "interface" in done.stdout


def test_nobody_waits_for_the_compiler(director):
    """An attach that has to compile holds no lock: changes are made meanwhile, and stay."""
    director.balance("rr")
    cold = f'mount -t tmpfs none {program_cache.DIRECTORY}; exec "$@"'
    sizes = [f"--tune={name}={value}" for name, value in SMALL.items()]
    attach = ["unshare", "--mount", "sh", "-ec", cold, "sh", XDPLB, "attach", "ens33", *sizes]
    process = subprocess.Popen(
        labs.command(director.name, "lvs", attach),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "compiling xdplb.c, once\n" == process.stderr.readline()

    for weight in ("2", "3"):
        director.xdplb("server", "edit", *AT, "-r", RS1, "-w", weight)
    waits = process.poll() is None

    said, errors = process.communicate(timeout=120)
    assert 0 == process.returncode, errors
    assert waits, "the attach was done before the changes"
    assert "ens33: upgraded in place" in said
    assert [3, 1] == [real["weight"] for real in director.json("list")[0]["reals"]]
