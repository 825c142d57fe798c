# SPDX-License-Identifier: MIT
"""Operators who change one director at random, side by side, and whose commands are killed."""

import json
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from fivehosts import XDPLB, Lab

from xdplb import lab as labs

KILLED_PART = 0.3  # of all commands
FIRST = ("nice", "-n", "-15")  # commands run before the load, which takes all the time there is
# A killed command was done or was not, so the next one may say these. Nothing else may fail.
EXCUSES = ("exists already", "is there already", "does not exist", "is not in service", "is in")
EXCUSES += ("was not added", "is denied already", "is not denied", "no director is attached to")


class Failed(Exception):
    """A command failed, or said what it must not."""


class Operator(threading.Thread):
    """Makes random steps until it is told to stop. failed: why it stopped earlier."""

    def __init__(self, name: str, lab: Lab, seed: int, stop: threading.Event) -> None:
        super().__init__(name=name)
        self.lab = lab
        self.dice = random.Random(f"{seed} {name}")
        self.failed = ""
        self.counted: Counter[str] = Counter()
        self._stop_asked = stop
        self._takes_s: dict[str, float] = {}

    def run(self) -> None:
        """The thread's work."""
        try:
            while not self._stop_asked.is_set():
                self.step()
        except Exception as error:
            self.failed = f"{self.name}: {type(error).__name__}: {error}"
            self._stop_asked.set()

    def step(self) -> None:
        """Run some commands."""
        raise NotImplementedError

    def change(self, *argv: str, text: str = "", mortal: bool = True) -> str:
        """Run a command; it may be killed at random within the time that it takes.

        text: its standard input. Returns: its output.
        """
        start = time.monotonic()
        command = subprocess.Popen(
            labs.command(self.lab.name, "lvs", [*FIRST, XDPLB, *argv]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        kill = mortal and self.dice.random() < KILLED_PART
        try:
            wait_s = self.dice.uniform(0, 1.1 * self._takes_s.get(argv[0], 0.3))
            output, errors = command.communicate(text, timeout=wait_s if kill else 300)
        except subprocess.TimeoutExpired:
            command.kill()
            output, errors = command.communicate()
        if command.returncode == -signal.SIGKILL:
            self.counted[f"{argv[0]} killed"] += 1
            return ""
        if not kill:
            self._takes_s[argv[0]] = time.monotonic() - start
        self.counted[argv[0]] += 1
        excused = command.returncode == 1 and any(each in errors for each in EXCUSES)
        if command.returncode and not excused:
            raise Failed(f"xdplb {' '.join(argv)}: exit code {command.returncode}: {errors}")
        return output

    def ask(self, *argv: str) -> Any:
        """The value that a command prints."""
        return json.loads(self.change(*argv, "--json", mortal=False))


class Reals(Operator):
    """Has one service, whose reals come, are weighed, drained, and go when they are idle.

    kept: the reals that never go. schedulers: between which the service changes.
    """

    def __init__(
        self,
        vip: str,
        kept: tuple[str, ...],
        guests: tuple[str, ...],
        schedulers: tuple[tuple[str, str], ...],
        *more: Any,
    ) -> None:
        super().__init__(f"service {vip}", *more)
        self.service = ("-t", f"{vip}:80")
        self.kept, self.guests, self.schedulers = kept, guests, schedulers

    def weights(self) -> dict[str, int]:
        """Those in force, by address."""
        services = self.ask("list")
        (found,) = [s for s in services if f"{s['vip']}:{s['port']}" == self.service[1]]
        return {each["address"]: each["weight"] for each in found["reals"]}

    def is_idle(self, address: str) -> bool:
        """Whether no flow of this real is open."""
        flows = self.ask("list", "--flows", *self.service)
        return not [f for f in flows if f["real"] == address and f["state"] != "closing"]

    def step(self) -> None:
        weights, dice = self.weights(), self.dice
        address = dice.choice([*self.kept, *self.guests, *self.guests])
        weight = ("-w", str(dice.randint(1, 5)))
        if dice.random() < 0.1:
            scheduler, flags = dice.choice(self.schedulers)
            self.change("service", "edit", *self.service, "-s", scheduler, "-b", flags)
        elif address not in weights:
            self.change("server", "add", *self.service, "-r", address, *weight)
        elif address in self.guests and weights[address] == 0:
            if self.is_idle(address):
                self.change("server", "del", *self.service, "-r", address)
        elif weights[address] and sum(weights.values()) > weights[address]:
            self.change("server", "drain", *self.service, "-r", address)
        else:
            self.change("server", "edit", *self.service, "-r", address, *weight)


class Steps(Operator):
    """Runs one of some steps, each a few commands."""

    def __init__(self, name: str, steps: list[Callable[[Operator], None]], *more: Any) -> None:
        super().__init__(name, *more)
        self.steps = steps

    def step(self) -> None:
        self.dice.choice(self.steps)(self)
