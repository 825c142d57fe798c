# SPDX-License-Identifier: MIT
"""A command that is killed, wherever, leaves what was or what shall be: the next one finishes it.

Each command is killed before each of its effects in turn: system calls that change anything, and
steps of the table writer; see tests/killing.py. Then another command runs. Afterwards the machine
is as before the killed command, or as after it, and from some effect on it is as after it.

`make test` tries some effects of each command, `make test-kills` all. KILLS=N: every N-th effect.
SEED: which ones, and which commands run next.
"""

import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import killing
import pytest
import second
from fivehosts import RS1, RS2, SMALL, Lab, require_root
from whole import Picture, check_consistent, differences, picture

from xdplb import lab as labs
from xdplb.director import store
from xdplb.kernel import program_cache
from xdplb.lab import VIP
from xdplb.model.tunables import Tunables

pytestmark = [pytest.mark.root, pytest.mark.slow]

EVERY = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", "1"))
SERVICE = ("-t", f"{VIP}:80")
VIP2, VIP3 = "192.168.2.101", "192.168.2.102"
CLIENT = "192.168.1.200"  # as a real: it is behind the gateway
SIZES = [f"--tune={name}={value}" for name, value in SMALL.items()]
AT_MOST = 2000  # effects of one command


def configuration(vips: list[str], *services: tuple[str, str, list[str]]) -> str:
    """A configuration's text."""
    return f"vips = {vips}\n" + "\n".join(
        f"[[service]]\n{key}\nscheduler = '{scheduler}'\nreals = {reals}"
        for key, scheduler, reals in services
    )


BASE = "deny = ['203.0.113.1', '203.0.113.2']\n" + configuration(
    [VIP], (f'tcp = "{VIP}:80"', "rr", [RS1, CLIENT]), (f'udp = "{VIP}:53"', "mh", [RS1])
)
OTHER = "deny = ['192.0.2.0/24', '192.0.2.7']\n" + configuration(
    [VIP, VIP3],
    (f'tcp = "{VIP}:80"', "mh", [RS1, f"{RS2} weight=2"]),
    (f'tcp = "{VIP2}:81"', "wrr", [RS2]),
)
OTHER += "\n[timeouts]\ntcp = 60\n"
BATCH = f"""\
service add -u {VIP}:99 -s sh
server add -u {VIP}:99 -r {RS2}
server del -t {VIP}:80 -r {RS1}
vip add --force {VIP2}
deny add 198.51.100.0/24
set 50 0 0
"""


@dataclass(frozen=True)
class Case:
    """A command to kill. attached: the interfaces that have the director before."""

    argv: tuple[str, ...]
    attached: tuple[str, ...] = ("ens33",)


CASES = {
    "service add": Case(("service", "add", "-t", f"{VIP}:81", "-s", "mh")),
    "service add VIP": Case(("service", "add", "-t", f"{VIP2}:80", "-s", "wrr")),
    "service edit": Case(("service", "edit", *SERVICE, "-s", "mh")),
    "service edit mh": Case(("service", "edit", "-u", f"{VIP}:53", "-s", "sh")),
    "service del": Case(("service", "del", *SERVICE)),
    "server add": Case(("server", "add", *SERVICE, "-r", RS2)),
    "server edit": Case(("server", "edit", *SERVICE, "-r", RS1, "-w", "5", "--tun-type", "gre")),
    "server drain": Case(("server", "drain", *SERVICE, "-r", RS1)),
    "server del": Case(("server", "del", *SERVICE, "-r", CLIENT)),
    "apply": Case(("apply", "{files}/other.toml")),
    "vip add": Case(("vip", "add", "--force", VIP2)),
    "vip del": Case(("vip", "del", VIP)),
    "deny add": Case(("deny", "add", "198.51.100.1", "198.51.100.2")),
    "deny del": Case(("deny", "del", "203.0.113.1", "203.0.113.2")),
    "set": Case(("set", "70", "20", "0")),
    "zero": Case(("zero",)),
    "flush": Case(("flush",)),
    "batch": Case(("batch", "{files}/batch")),
    "save": Case(("save", "{files}/saved.toml")),
    "attach first": Case(("attach", "ens33", "--vip", VIP, *SIZES), ()),
    "attach again": Case(("attach", "ens33")),
    "attach VIP": Case(("attach", "ens33", "--vip", VIP2)),
    "attach sizes": Case(("attach", "ens33", "--tune=max_reals=512")),
    "attach second": Case(("attach", "ens34", "--vip", VIP2)),
    "detach last": Case(("detach", "ens33")),
    "detach second": Case(("detach", "ens34"), ("ens33", "ens34")),
    "detach first": Case(("detach", "ens33"), ("ens33", "ens34")),
}
# What may run next: none of them changes anything by itself, but for detach.
NEXT: list[list[tuple[str, ...]]] = [
    [("set", "0", "0", "300")],
    [("deny", "add", "198.18.0.0/15"), ("deny", "del", "198.18.0.0/15")],
    [("vip", "list"), ("server", "edit", "-u", f"{VIP}:53", "-r", RS1, "-w", "1")],
    [("attach", "{interface}")],
    [("detach", "{interface}")],
]
WEIGHTS = (3, 3, 3, 1, 1)  # the last two take seconds
NOT_THERE = ("no director is attached", "does not exist", "is not in service")


class Bench:
    """A director to kill commands of."""

    def __init__(self, lab: Lab, killer: killing.Killer, files: Path, scratch: Path) -> None:
        self.lab = lab
        self.killer = killer
        self.files = files
        self.scratch = scratch
        (files / "base.toml").write_text(BASE)
        (files / "other.toml").write_text(OTHER)
        (files / "batch").write_text(BATCH)
        (files / "saved.toml").write_text("old\n")

    def picture(self) -> Picture:
        """As it is now."""
        return picture(self.lab, self.files, self.scratch)

    def words(self, argv: tuple[str, ...]) -> list[str]:
        """The command with what only the running test knows."""
        return [word.format(files=self.files, interface=self.interface) for word in argv]

    @property
    def interface(self) -> str:
        """One that has the director, or that shall have it."""
        return next(iter(self.interfaces()), "ens33")

    def interfaces(self) -> list[str]:
        """Those that have the director, as its state says."""
        attached = store.read_state(self.lab.instance).attached
        return list(attached.interfaces) if attached else []

    def run(self, *argv: str) -> None:
        """Run a command, which succeeds."""
        done = self.killer.run(*self.words(argv))
        assert 0 == done.code, (argv, done)

    def begin(self, case: Case) -> Picture:
        """Bring the director to where the case begins. Returns: its picture."""
        for name in self.interfaces():
            if not case.attached or name not in case.attached:
                self.run("detach", name)
        for name in case.attached or ("ens33",):
            if name not in self.interfaces():
                self.run("attach", name, "--vip", VIP, *SIZES)
        if store.read_state(self.lab.instance).wanted.tunables != replace(Tunables(), **SMALL):
            self.run("attach", self.interface, *SIZES)
        self.run("set", "900", "120", "300")
        self.run("apply", "{files}/base.toml")
        (self.files / "saved.toml").write_text("old\n")
        if not case.attached:
            self.run("detach", "ens33")
        return self.picture()

    def save_again(self, case: Case, before: Picture, after: Picture) -> None:
        """The file is whole. What the killed command wrote beside it goes with the next `save`."""
        saved = str(self.files / "saved.toml")
        wholes = [each["directories"][saved] for each in (before, after)]
        assert Path(saved).read_bytes() in wholes
        for left in self.files.glob(".xdplb-*"):
            os.utime(left, (0, 0))  # a minute passes
        self.run(*case.argv)

    @staticmethod
    def stays_attached(case: Case) -> bool:
        """Whether the director is attached before the command and after it."""
        return bool(case.attached) and (case.argv[0] != "detach" or len(case.attached) > 1)

    def follow(self, commands: list[tuple[str, ...]]) -> None:
        """Run the next commands, which may fail if what they need is not there."""
        for argv in commands:
            done = self.killer.run(*self.words(argv))
            excused = done.code == 1 and any(reason in done.errors for reason in NOT_THERE)
            assert done.code == 0 or excused, (argv, done)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Five hosts without servers: nobody asks. The director has two interfaces."""
    require_root()
    lab = Lab(f"t{uuid.uuid4().hex[:8]}")
    files, scratch = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("scratch")
    with ExitStack() as stack:
        labs.up(lab.name)
        stack.callback(labs.down, lab.name)
        second.add_interface(lab)
        lab.run("lvs", "sysctl", "-qw", "net.ipv6.conf.ens33.accept_ra=1")
        inside = labs.command(lab.name, "lvs", [])
        cache = program_cache.DIRECTORY
        yield Bench(
            lab, stack.enter_context(killing.started(inside, cache, scratch)), files, scratch
        )


def effects_to_try(case: str, effects: int) -> Iterator[int]:
    """The numbers of some effects of a command that has so many; of a short command, four."""
    step = max(1, min(EVERY, effects // 4))
    yield from range(random.Random(f"{SEED} {case}").randrange(step), effects, step)


@pytest.mark.parametrize("name", CASES)
def test_killed(bench, name):
    """The next command finishes it or undoes it; nothing is left over, and nothing is lost."""
    case, dice = CASES[name], random.Random(f"{SEED} {name} next")
    before = bench.begin(case)
    effects = bench.killer.run(*bench.words(case.argv), before=AT_MOST).effects
    after = bench.picture()
    check_consistent(bench.lab)
    is_before, tried, start = not differences(before, after), 0, time.monotonic()
    states: list[bool] = []
    for effect in effects_to_try(name, effects):
        if not is_before:
            now = bench.begin(case)
            assert not (found := differences(before, now)), f"to begin again:\n{found}"
        outcome = bench.killer.run(*bench.words(case.argv), before=effect)
        assert outcome.killed or outcome.code == 0, outcome
        (following,) = dice.choices(NEXT, weights=WEIGHTS)
        where = f"SEED={SEED}, {name}, effect {effect}: {outcome.killed}; then {following}"
        print(where, flush=True)
        bench.follow(following)
        if name == "save":
            bench.save_again(case, before, after)
        if following[0][0] == "detach":
            check_detached(bench, before, after, where)
            is_before = False
        else:
            now = bench.picture()
            to_before, to_after = differences(before, now), differences(after, now)
            assert not (to_before and to_after), (
                f"{where}\nnot done:\n{to_before}\ndone:\n{to_after}"
            )
            is_before = not to_before
            if following[0][0] != "attach" or bench.stays_attached(case):
                states.append(not to_after)
            check_consistent(bench.lab)
        tried += 1
    print(f"{name}: {tried} of {effects} effects in {time.monotonic() - start:.0f} s")
    assert sorted(states) == states, "from some effect on it is done"


def check_detached(bench: Bench, before: Picture, after: Picture, where: str) -> None:
    """After a detach: nothing of ours is left on the machine, and what is wanted is kept."""
    for name in bench.interfaces():
        bench.run("detach", name)
    now = bench.picture()
    assert now["wanted"] in (before["wanted"], after["wanted"]), where
    assert {} == now["programs"], where
    assert [] == now["neighbours"] == now["pins"], where
    assert "" == now["shared"], where
    check_consistent(bench.lab)
