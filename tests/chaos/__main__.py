# SPDX-License-Identifier: MIT
"""The long run: make chaos [MINUTES=number] [SEED=number].

A lab is loaded by wrk, over connections that are kept and over short ones. Several operators change
its director side by side, and their commands are killed at random. No request may fail, and nothing
may be left over.

First part, with a service of each kind of scheduler: everything but a change of the tables' layout.
That forgets the recorded flows, as docs/ say, and breaks what depends on them. So the second part
changes the layout under a service whose slots alone say where a flow belongs: mh, at rest.
"""

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import SystemRandom

import click
from farm import real
from fivehosts import RS1, RS2, XDPLB, Lab, served
from load import Load, end_wrk, start_wrk
from whole import check_consistent, differences, picture

from chaos.operators import Failed, Operator, Reals, Steps
from xdplb.lab import VIP

VIP2, VIP3, VIP4 = "192.168.2.101", "192.168.2.102", "192.168.2.103"
RS3, RS4 = "192.168.2.230", "192.168.2.231"
HASHED = (("mh", "mh-port"), ("sh", "sh-port"), ("mh", "mh-port"))
IN_TURN = (("rr", ""), ("wrr", ""), ("mh", "mh-port"))
SECOND = "ens34"


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--seed", type=int, help="Where chance begins. [default: by chance]")
def main(minutes: float, seed: int | None) -> None:
    """Load a director, change it, kill its commands. No request fails."""
    seed = SystemRandom().randrange(1 << 32) if seed is None else seed
    click.echo(f"SEED={seed}")
    with ExitStack() as stack:
        lab = stack.enter_context(served())
        stack.enter_context(real(lab, "rs3", RS3))
        stack.enter_context(real(lab, "rs4", RS4))
        for host in ("rs1", "rs2", "rs3", "rs4"):
            inside = ["--netns", f"{lab.name}-{host}"]
            labs_xdplb("realserver", "setup", *inside, "--vip", VIP, "--vip", VIP2)
        for name in (SECOND, "peer34"):
            if name == SECOND:
                lab.run("lvs", "ip", "link", "add", name, "type", "veth", "peer", "name", "peer34")
        for name in (SECOND, "peer34"):
            lab.run("lvs", "ip", "link", "set", name, "up", "addrgenmode", "none")
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        before = picture(lab)
        lab.attach(vips=[VIP, VIP2], flow_buckets=16384)
        everything(lab, 0.75 * 60 * minutes, seed, scratch)
        layouts(lab, 0.25 * 60 * minutes, seed)
        for name in lab.json("status")["interfaces"]:
            lab.xdplb("detach", name)
        left = picture(lab)
        for part in ("wanted", "files"):
            before.pop(part), left.pop(part)
        if found := differences(before, left):
            raise SystemExit(f"after detach:\n{found}")
        if files := sorted(path.name for path in scratch.glob(".*")):
            click.echo(f"of killed `save`s: {files}")
    click.echo("0 failed requests, nothing left over")


def labs_xdplb(*argv: str) -> None:
    """Run `xdplb` on this machine. Raises: CalledProcessError."""
    import subprocess

    subprocess.run([XDPLB, *argv], check=True, stdout=subprocess.DEVNULL)


def everything(lab: Lab, seconds: float, seed: int, scratch: Path) -> None:
    """The first part. Raises: SystemExit."""
    for vip, scheduler in ((VIP, ("mh", "-b", "mh-port")), (VIP2, ("rr",))):
        lab.xdplb("service", "add", "-t", f"{vip}:80", "-s", *scheduler)
        for address in (RS1, RS2):
            lab.xdplb("server", "add", "-t", f"{vip}:80", "-r", address)
    stop = threading.Event()
    more = (lab, seed, stop)
    operators: list[Operator] = [
        Reals(VIP, (RS1, RS2), (RS3, RS4), HASHED, *more),
        Reals(VIP2, (RS1, RS2), (RS3, RS4), IN_TURN, *more),
        Steps("others", list(changes()), *more),
        Steps("upgrades", [upgrade, upgrade, second], *more),
        Steps("readers", list(readings(scratch)), *more),
    ]
    with loaded(lab, [VIP, VIP2], seconds):
        work(operators, stop, seconds - 4)
    settle(lab)


def layouts(lab: Lab, seconds: float, seed: int) -> None:
    """The second part. Raises: SystemExit."""
    lab.xdplb("flush")
    lab.xdplb("service", "add", "-t", f"{VIP}:80", "-s", "mh", "-b", "mh-port")
    for address in (RS1, RS2):
        lab.xdplb("server", "add", "-t", f"{VIP}:80", "-r", address)
    stop = threading.Event()
    more = (lab, seed, stop)
    operators: list[Operator] = [
        Steps("layouts", [layout], *more),
        Steps("others", list(changes()), *more),
        Steps("readers", list(readings(None)), *more),
    ]
    with loaded(lab, [VIP], seconds):
        work(operators, stop, seconds - 4)
    settle(lab)


# ---- steps ---------------------------------------------------------------------------------------


def upgrade(operator: Operator) -> None:
    """Replace the program."""
    operator.change("attach", "ens33")


def second(operator: Operator) -> None:
    """An interface comes and goes."""
    operator.change("attach", SECOND, "--vip", VIP4)
    operator.change("detach", SECOND)


def layout(operator: Operator) -> None:
    """New tables."""
    operator.change("attach", "ens33", f"--tune=max_denied={operator.dice.randint(64, 4096)}")


def changes() -> Iterator[Callable[[Operator], None]]:
    """What touches no loaded service."""

    def deny(operator: Operator) -> None:
        prefixes = [f"198.51.{operator.dice.randint(0, 255)}.0/24"]
        operator.change("deny", "add", *prefixes)
        operator.change("deny", "del", *prefixes)

    def vip(operator: Operator) -> None:
        operator.change("vip", "add", "--force", VIP3)
        operator.change("vip", "del", VIP3)

    def timeouts(operator: Operator) -> None:
        operator.change("set", str(operator.dice.randint(300, 900)), "0", "0")

    def zero(operator: Operator) -> None:
        operator.change("zero")

    def service(operator: Operator) -> None:
        key = ("-u", f"{VIP3}:{operator.dice.randint(1, 60)}")
        operator.change("service", "add", *key, "-s", operator.dice.choice(["mh", "rr", "sh"]))
        operator.change("server", "add", *key, "-r", RS1)
        operator.change("service", "del", *key)

    def batch(operator: Operator) -> None:
        port = operator.dice.randint(100, 160)
        lines = [f"service add -t {VIP3}:{port} -s wrr", f"server add -t {VIP3}:{port} -r {RS2}"]
        operator.change("batch", "-", text="\n".join(lines))
        operator.change("batch", "-", text=f"service del -t {VIP3}:{port}\n")

    yield from (deny, vip, timeouts, zero, service, batch)


def readings(scratch: Path | None) -> Iterator[Callable[[Operator], None]]:
    """What changes nothing."""
    commands = [("list",), ("list", "--stats"), ("list", "--flows"), ("status",), ("vip", "list")]
    commands += [("top", "--json"), ("deny", "list")]
    if scratch:
        commands.append(("save", str(scratch / "saved.toml")))
    for argv in commands:
        yield lambda operator, argv=argv: operator.change(*argv) and None  # type: ignore[misc]


# ---- the load and the end ------------------------------------------------------------------------


@contextmanager
def loaded(lab: Lab, vips: Sequence[str], seconds: float) -> Iterator[None]:
    """Load the VIPs while the block runs. Raises: SystemExit if a request fails."""
    whole = int(seconds)
    loads = {f"{vip} kept": start_wrk(lab, whole, 8, vip=vip) for vip in vips}
    time.sleep(1)  # these connections are there before the first change
    for vip in vips:
        short = ("-H", "Connection: close")
        loads[f"{vip} short"] = start_wrk(lab, whole - 2, 2, *short, vip=vip)
    try:
        yield
    except BaseException:
        for wrk in loads.values():
            wrk.kill()
            wrk.communicate()
        raise
    results = {name: end_wrk(wrk) for name, wrk in loads.items()}
    for name, load in results.items():
        click.echo(f"  {name}: {load.requests} requests {load.errors}")
    if bad := [name for name, load in results.items() if is_bad(load)]:
        raise SystemExit(f"requests failed: {', '.join(bad)}")


def is_bad(load: Load) -> bool:
    """Whether a request failed, or there were too few to say so."""
    return bool(load.errors) or load.requests < 1000


def work(operators: Sequence[Operator], stop: threading.Event, seconds: float) -> None:
    """Have the operators work for a while. Raises: SystemExit if a command fails."""
    for each in operators:
        each.start()
    stop.wait(seconds)
    stop.set()
    for each in operators:
        each.join()
    counted = sum((each.counted for each in operators), Counter[str]())
    killed = sum(n for name, n in counted.items() if name.endswith(" killed"))
    click.echo(f"  {counted.total() - killed} commands done, {killed} killed: {dict(counted)}")
    if failed := [each.failed for each in operators if each.failed]:
        raise SystemExit("\n".join(failed))


def settle(lab: Lab) -> None:
    """Nothing is half done once some command has run. Raises: SystemExit."""
    try:
        lab.xdplb("set", "0", "0", "300")
        check_consistent(lab)
    except AssertionError as error:
        raise SystemExit(f"not consistent: {error}") from error


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        raise SystemExit(str(error)) from error
