# SPDX-License-Identifier: MIT
"""`xdplb batch`: many command lines are one change, or one change each."""

import subprocess
import time
import uuid
from collections.abc import Iterator

import pytest
from fivehosts import XDPLB, Lab, require_root
from photo import files, machine, tables

from xdplb import lab as labs
from xdplb.lab import VIP

pytestmark = pytest.mark.root

AT = f"-t {VIP}:80"
SERVICES, REALS = 40, 100


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Five hosts without servers: nobody asks. The director is attached."""
    require_root()
    lab = Lab(f"t{uuid.uuid4().hex[:8]}")
    labs.up(lab.name)
    lab.attach(max_reals=8192)
    yield lab
    lab.xdplb("detach", "ens33")
    labs.down(lab.name)


@pytest.fixture
def director(lab: Lab) -> Iterator[Lab]:
    """An attached director with one service."""
    lab.xdplb("service", "add", "-t", f"{VIP}:80", "-s", "rr")
    yield lab
    lab.xdplb("flush")


def batch(lab: Lab, text: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run `xdplb batch -` with this on standard input. It may fail."""
    argv = [XDPLB, "batch", *options, "-"]
    return labs.run(lab.name, "lvs", argv, check=False, stdin=text, timeout_s=120)


def reals(lab: Lab) -> dict[str, int]:
    """The reals' weights."""
    (service,) = lab.json("list")
    return {real["address"]: real["weight"] for real in service["reals"]}


def adds(count: int) -> list[str]:
    """Lines that add so many reals to the one service."""
    return [f"server add {AT} -r 10.9.{n >> 8}.{n & 255}" for n in range(count)]


def test_thousands_in_one_transaction(director, record_property):
    """4,000 reals of 40 services, as one change: all are there, in the tables too. How long it took
    is recorded, not asserted.
    """
    lines = [f"service add -t {VIP}:{port} -s wrr" for port in range(1000, 1000 + SERVICES)]
    lines += [
        f"server add -t {VIP}:{1000 + n % SERVICES} -r 10.8.{n >> 8}.{n & 255} -w {1 + n % 3}"
        for n in range(SERVICES * REALS)
    ]
    start = time.monotonic()

    done = batch(director, "\n".join(lines))

    seconds = time.monotonic() - start
    record_property("seconds", round(seconds, 2))
    print(f"{len(lines)} lines in {seconds:.2f} s")
    assert 0 == done.returncode, done.stderr
    status = director.json("status")
    assert (SERVICES + 1, SERVICES * REALS) == (status["services"], status["reals"])
    listed = director.json("list", "-t", f"{VIP}:1001")[0]["reals"]
    assert [f"10.8.{n >> 8}.{n & 255}" for n in range(1, 4000, 40)] == [
        r["address"] for r in listed
    ]
    assert "" == status["unfinished"]


def test_a_bad_line_changes_nothing(director):
    """Line 500 is wrong: it is named with its reason, and all is as it was, byte for byte."""
    lines = adds(600)
    lines[499] = f"server add {AT} -r 10.9.0.0"
    before = files(director), tables(director), machine(director)

    done = batch(director, "\n".join(lines))

    assert 1 == done.returncode
    assert 1 == len(done.stderr.splitlines())
    assert f"line 500 'server add {AT} -r 10.9.0.0': real 10.9.0.0 is in service" in done.stderr
    assert before == (files(director), tables(director), machine(director))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("server add -r 10.9.0.7", "line 3 'server add -r 10.9.0.7': "),
        ("server add -t 192.168.2.100:80 -r nonsense", "'nonsense'"),
        ("server ad", "line 3 'server ad': No such command"),
        ('service add "', "line 3 'service add \"': No closing quotation; close the quotation"),
        ("list", "a batch has no command 'list'; choose from service, server, vip, deny, set"),
        ("status --json", "a batch has no command 'status'"),
        ("attach ens33", "a batch has no command 'attach'"),
        ("batch -", "a batch has no command 'batch'"),
        ("--instance other flush", "a batch has no command '--instance'"),
    ],
)
def test_what_a_batch_refuses(director, line, words):
    """Wrong words, and commands that read or attach: one line, which names it; nothing changes."""
    before = files(director), tables(director)

    done = batch(director, f"# two good ones\nserver add {AT} -r 10.9.0.1\n{line}\nflush\n")

    assert 1 == done.returncode
    assert 1 == len(done.stderr.splitlines()), done.stderr
    assert words in done.stderr
    assert before == (files(director), tables(director))


def test_comments_and_our_own_name(director):
    """Empty lines, comments and a leading `xdplb` are taken, as a script has them."""
    text = f"""
        # the reals
        xdplb server add {AT} -r 10.9.0.1    # the first
        server add {AT} -r '10.9.0.2' -w 3

        deny add 203.0.113.0/24
    """
    assert 0 == batch(director, text).returncode

    assert {"10.9.0.1": 1, "10.9.0.2": 3} == reals(director)
    assert "203.0.113.0/24" in director.xdplb("deny", "list")
    assert 0 == batch(director, "deny del 203.0.113.0/24").returncode
    assert 0 == batch(director, "").returncode


def test_each_goes_on(director):
    """With --each the good lines are done, each bad one is told, and the exit code is 1."""
    lines = [*adds(3), "server add -r x", adds(1)[0], f"server edit {AT} -r 10.9.0.1 -w 5"]

    done = batch(director, "\n".join(lines), "--each")

    assert 1 == done.returncode
    told = done.stderr.splitlines()
    assert 3 == len(told)
    assert "line 4 'server add -r x': " in told[0]
    assert f"line 5 '{adds(1)[0]}': real 10.9.0.0 is in service" in told[1]
    assert "2 of 6 lines failed; the others are done" in told[2]
    assert {"10.9.0.0": 1, "10.9.0.1": 5, "10.9.0.2": 1} == reals(director)


def test_lines_that_undo_each_other(director):
    """A change that ends where it began changes no table, though a real came and went."""
    before = tables(director)

    done = batch(director, f"{adds(1)[0]}\nserver del {AT} -r 10.9.0.0\n")

    assert 0 == done.returncode
    assert before == tables(director)
    assert {} == reals(director)
    assert "managed" not in director.output("lvs", "ip", "neighbour")
