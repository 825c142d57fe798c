# SPDX-License-Identifier: MIT
"""`xdplb realserver`, as a process: what it prints, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from xdplb.host import namespaces

pytestmark = pytest.mark.root

VIP = "192.168.2.100"


def run(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from xdplb.cli import main; main()", "realserver", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_check_ends_with_1_where_something_is_wrong(real):
    """And with 0 where nothing is; as rows or as JSON."""
    here = ("--netns", real.name)

    wrong = [run("check", *here, "--vip", VIP), run("check", *here, "--vip", VIP, "--json")]
    made = run("setup", *here, "--vip", VIP)
    right = [run("check", *here), run("check", *here, "--json")]

    assert [1, 1] == [done.returncode for done in wrong]
    assert "WRONG vip 192.168.2.100: nowhere (wanted: " in wrong[0].stdout
    assert [0, 0, 0] == [done.returncode for done in (made, *right)], made.stderr
    assert "WRONG" not in right[0].stdout


def test_teardown_of_an_unknown_vip_ends_with_1(real):
    """One line names what is set up."""
    run("setup", "--netns", real.name, "--vip", VIP)

    done = run("teardown", "--netns", real.name, "--vip", "192.168.2.101")

    wanted = f"xdplb: the VIP 192.168.2.101 is not set up here; these are: {VIP}\n"
    assert (1, "", wanted) == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("verb", ["setup", "check", "teardown"])
def test_unprivileged(verb):
    """One line says what of it is root's."""
    done = run(verb, "--vip", VIP, user="nobody")

    assert (1, "") == (done.returncode, done.stdout)
    [line] = done.stderr.splitlines()
    assert line.startswith(f"xdplb: realserver {verb} ")
    assert ("changes" in line) == (verb != "check")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_what_setup_makes_is_root_s(real, umask):
    """Records, pins and locks are for root alone, whatever the umask is."""
    done = run("setup", "--netns", real.name, "--vip", VIP, "--decap", "xdp", umask=umask)
    assert 0 == done.returncode, done.stderr
    with namespaces.entered(real.name):
        cookie = namespaces.cookie()
    number = Path(f"/run/netns/{real.name}").stat().st_ino
    pins = Path(f"/sys/fs/bpf/xdplb-decap/{cookie}-eth0")

    private = [
        Path("/run/xdplb/realserver"),
        Path(f"/run/xdplb/realserver/{number}.state"),
        Path("/run/xdplb/realserver/lock"),
        Path("/run/xdplb/decap"),
        Path("/run/xdplb/decap/lock"),
        Path("/sys/fs/bpf/xdplb-decap"),
        pins,
        *pins.rglob("*"),
    ]
    assert len(private) > 10
    assert [] == [str(path) for path in private if path.stat().st_mode & 0o077]
