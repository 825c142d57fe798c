# SPDX-License-Identifier: MIT
"""Attaching with a cache of compiled programs: warm, cold, shared, and where it cannot be."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fivehosts import SMALL, XDPLB, Lab, require_root

from xdplb import lab as labs
from xdplb.kernel import program_cache

pytestmark = pytest.mark.root

CACHE = program_cache.DIRECTORY
SAID = "compiling xdplb.c, once\n"
SIZES = [f"--tune={name}={value}" for name, value in SMALL.items()]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Five hosts without servers: nobody asks. Nothing is attached."""
    require_root()
    CACHE.mkdir(mode=0o700, exist_ok=True)
    lab = Lab(f"t{uuid.uuid4().hex[:8]}")
    labs.up(lab.name)
    yield lab
    labs.down(lab.name)


@pytest.fixture
def lvs(lab: Lab) -> Iterator[Lab]:
    """The director; what a test attaches is detached."""
    yield lab
    lab.try_xdplb("detach", "ens33")


def start(
    lab: Lab, cache: str, *argv: str, environment: dict[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Start `xdplb attach` where a mount stands in for the cache."""
    command = ["unshare", "--mount", "sh", "-ec", f'mount {cache} {CACHE}; exec "$@"', "sh"]
    attach = [XDPLB, *argv, "attach", "ens33", "--vip", labs.VIP, *SIZES]
    return subprocess.Popen(
        labs.command(lab.name, "lvs", [*command, *attach]),
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def attach(lab: Lab, cache: str, **environment: str) -> str:
    """Attach. Returns: what it said on standard error."""
    process = start(lab, cache, environment=environment)
    _, said = process.communicate()
    assert 0 == process.returncode, said
    return said


def bind(directory: Path) -> str:
    """What mounts a directory."""
    directory.mkdir(exist_ok=True, mode=0o700)
    return f"--bind {directory}"


def poison(directory: Path) -> str:
    """Make a bcc that cannot be imported. Returns: the path that has it come first."""
    (directory / "bcc").mkdir(parents=True)
    (directory / "bcc/__init__.py").write_text("raise SystemExit('bcc was imported')\n")
    return str(directory)


def test_the_second_attach_does_not_compile(lvs, tmp_path):
    """It says nothing, has no need of bcc, and upgrades the program over the same tables."""
    cache = bind(tmp_path / "cache")
    poisoned = poison(tmp_path / "python")

    assert SAID == attach(lvs, cache)
    before = lvs.json("status")
    assert "" == attach(lvs, cache, PYTHONPATH=poisoned)
    after = lvs.json("status")
    assert before["maps"] == after["maps"]
    assert before["program"]["id"] != after["program"]["id"]

    cold = start(lvs, "-t tmpfs t", environment={"PYTHONPATH": poisoned})
    assert "has no module bcc" in cold.communicate()[1]
    assert 1 == cold.returncode


def test_two_at_once_compile_once(lvs, tmp_path):
    """Of two instances: one compiles, the other waits, says so, and takes what was made."""
    cache = bind(tmp_path / "cache")
    processes = [start(lvs, cache, "--instance", f"other-{n}") for n in "ab"]
    try:
        said = sorted(process.communicate()[1] for process in processes)
    finally:
        for n in "ab":
            lvs.try_xdplb("--instance", f"other-{n}", "detach", "ens33")

    waiting = "waiting for another command, which compiles\n"
    assert 1 == sum(text.count(SAID) for text in said)
    assert 1 == sum(text.count(waiting) for text in said if SAID not in text)
    assert 1 == len(list((tmp_path / "cache").glob("*.json")))


def test_others_need_not_wait_for_the_compiler(lvs, tmp_path):
    """The instance's lock is free while an upgrade compiles."""
    attach(lvs, bind(tmp_path / "cache"))
    upgrade = start(lvs, "-t tmpfs -o mode=700 t")
    assert upgrade.stderr is not None
    assert SAID == upgrade.stderr.readline()

    lvs.xdplb("set", "901", "121", "301")
    assert upgrade.poll() is None
    assert "" == upgrade.communicate()[1]
    assert 0 == upgrade.returncode
    assert "tcp = 901" in lvs.xdplb("save")


FAILING = {
    "read-only": ("-t tmpfs -o ro,mode=700 t", "Read-only file system"),
    "full": ("-t tmpfs -o size=4k,mode=700 t", "No space left on device"),
}
NOTE = f"{CACHE} cannot be written ({{}}): the next command compiles again\n"


def test_attach_with_a_cache_that_cannot_be_written(lvs):
    """One note; the director is attached all the same."""
    cache, reason = FAILING["read-only"]

    assert SAID + NOTE.format(reason) == attach(lvs, cache)
    assert "native" == lvs.json("status")["interfaces"]["ens33"]["mode"]


@pytest.mark.parametrize("case", FAILING)
def test_a_cache_that_cannot_be_written_is_one_note(lvs, case):
    """Of the small program, which is sooner compiled. No file is left half written."""
    cache, reason = FAILING[case]
    code = "from xdplb.kernel import program_cache; program_cache.unwrapper()"
    inside = f'mount {cache} {CACHE}; "$@"; ls {CACHE}'
    command = ["unshare", "--mount", "sh", "-ec", inside, "sh", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "compiling decap.c, once\n" + NOTE.format(reason) == done.stderr
    assert done.stdout in ("", "lock\n")
