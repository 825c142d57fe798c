# SPDX-License-Identifier: MIT
"""Under load the director is changed, upgraded and interrupted: no request fails.

Two loads run beside each other: connections that are kept for the whole time, and ones for a single
request each. Meanwhile reals come, change their weights, are drained and, once their flows ended,
go; the program is replaced; and commands are killed, anywhere. What a killed command leaves is what
was, or what shall be.
"""

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from farm import real
from fivehosts import RS1, RS2, XDPLB, Lab
from load import end_wrk, start_wrk

from xdplb.lab import VIP

pytestmark = [pytest.mark.root, pytest.mark.slow]

SERVICE = ("-t", f"{VIP}:80")
RS3, RS4 = "192.168.2.230", "192.168.2.231"
KEPT, GUESTS = (RS1, RS2), (RS3, RS4)  # guests come and go; no kept connection is theirs
FLOW_BUCKETS = 16384
BY_PORT = 'flags = ["mh-port"]'  # there is one client: by its address alone it has one real

Weights = dict[str, int]


@pytest.fixture(scope="module")
def farm(cluster: Lab) -> Iterator[Lab]:
    """The reference case with four real servers."""
    with ExitStack() as stack:
        stack.enter_context(real(cluster, "rs3", RS3))
        stack.enter_context(real(cluster, "rs4", RS4))
        cluster.attach(flow_buckets=FLOW_BUCKETS)
        yield cluster


class Operator:
    """Changes a director at random, and knows what it should be."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab = lab
        self.random = random.Random(seed)
        self.weights = dict.fromkeys(KEPT, 1)
        self.killed = self.done = 0
        self.takes_s: dict[str, float] = {}  # how long commands take: more on a busy machine

    def run(self, *argv: str) -> None:
        """Run a command."""
        start = time.monotonic()
        self.lab.xdplb(*argv)
        self.takes_s[argv[0]] = time.monotonic() - start
        self.done += 1

    def kill(self, *argv: str) -> None:
        """Start a command and kill it, at random within the time that it takes."""
        command = self.lab.start("lvs", [XDPLB, *argv])
        time.sleep(self.random.uniform(0, 1.1 * self.takes_s.get(argv[0], 0.3)))
        command.kill()
        command.communicate()
        self.killed += 1

    def change(self, wanted: Weights, *argv: str) -> None:
        """Make one change, which may be killed: then it was made, or was not."""
        if self.random.random() < 0.5:
            self.run(*argv)
            self.weights = wanted
            return
        self.kill(*argv)
        self.run("server", "edit", *SERVICE, "-r", RS1, "-w", str(wanted[RS1]))  # finishes it
        assert not self.lab.instance.journal.exists()
        found = self.listed()
        assert found in ({**self.weights, RS1: wanted[RS1]}, wanted)
        self.weights = found

    def listed(self) -> Weights:
        """The weights in force."""
        (service,) = self.lab.json("list")
        return {each["address"]: each["weight"] for each in service["reals"]}

    def is_idle(self, address: str) -> bool:
        """Whether no flow of this real is open."""
        flows = self.lab.json("list", "--flows")
        return not [f for f in flows if f["real"] == address and f["state"] != "closing"]

    def step(self) -> None:
        """Make a change that fits what there is."""
        address = self.random.choice([*KEPT, *GUESTS, *GUESTS])
        weights = self.weights
        if address not in weights:
            wanted = {**weights, address: self.random.randint(1, 5)}
            weight = str(wanted[address])
            self.change(wanted, "server", "add", *SERVICE, "-r", address, "-w", weight)
        elif address in GUESTS and weights[address] == 0:
            if self.is_idle(address):
                wanted = {a: w for a, w in weights.items() if a != address}
                self.change(wanted, "server", "del", *SERVICE, "-r", address)
        elif weights[address] and sum(weights.values()) > weights[address]:
            wanted = {**weights, address: 0}
            self.change(wanted, "server", "drain", *SERVICE, "-r", address)
        else:
            wanted = {**weights, address: self.random.randint(1, 5)}
            weight = str(wanted[address])
            self.change(wanted, "server", "edit", *SERVICE, "-r", address, "-w", weight)

    def upgrade(self) -> None:
        """Replace the program; half of the time the first attempt is killed."""
        if self.random.random() < 0.5:
            self.kill("attach", "ens33")
        self.run("attach", "ens33")
        assert self.weights == self.listed()


def connections_on(lab: Lab, host: str) -> int:
    """How many connections a host's web server has."""
    inside = ["nsenter", f"--net=/run/netns/{lab.name}-{host}", "--"]
    query = ["ss", "-Htn", "state", "established", "sport = :80"]
    return len(
        subprocess.run([*inside, *query], capture_output=True, text=True).stdout.splitlines()
    )


def test_a_real_removed_without_draining_takes_its_own_connections(farm):
    """The others' connections go on.

    (First of all: later, a real's socket in TIME_WAIT may silence what should be reset.)
    """
    farm.balance("mh", [RS1, RS2, RS3], more=BY_PORT)
    kept = start_wrk(farm, 6, 32)
    time.sleep(2)
    theirs = connections_on(farm, "rs3")

    farm.xdplb("server", "del", *SERVICE, "-r", RS3)

    errors = end_wrk(kept).errors
    assert f"Socket errors: connect 0, read {theirs}, write 0, timeout 0" == errors


@pytest.mark.parametrize(("scheduler", "seconds"), [("mh", 65), ("rr", 35)])
def test_no_request_fails(farm, scheduler, seconds):
    """Whatever the operator does, and wherever it is interrupted: zero failed requests."""
    farm.balance(scheduler, KEPT, more=BY_PORT if scheduler == "mh" else "")
    farm.xdplb("zero")
    kept = start_wrk(farm, seconds, 16)
    time.sleep(1)  # their connections are there before the first change
    short = start_wrk(farm, seconds - 2, 4, "-H", "Connection: close")
    operator = Operator(farm, seed=1)

    end = time.monotonic() + seconds - 3
    while time.monotonic() < end:
        for _ in range(8):
            operator.step()
        operator.upgrade()

    loads = {"kept": end_wrk(kept), "short": end_wrk(short)}
    print(f"{loads}, {operator.done} commands done, {operator.killed} killed")
    assert {"kept": "", "short": ""} == {name: load.errors for name, load in loads.items()}
    assert min(load.requests for load in loads.values()) > 1000
    assert operator.killed > 0
