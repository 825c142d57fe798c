# SPDX-License-Identifier: MIT
"""What is said of a director as a whole: timeouts by several at once, a file without services."""

import fcntl
import time
from pathlib import Path

import pytest
from fivehosts import RS1, XDPLB, Lab

from xdplb.lab import VIP

pytestmark = pytest.mark.root

T = ("-t", f"{VIP}:80")


@pytest.fixture
def web(director: Lab) -> Lab:
    """A director with one service of one real."""
    director.balance("wrr", [RS1])
    return director


def is_waiting(pid: int) -> bool:
    """Whether a process waits for a lock of a file."""
    return "flock" in Path(f"/proc/{pid}/stack").read_text()


def test_timeouts_that_two_commands_set_at_once(web):
    """Each changes its own: what a command leaves as it is, it does not write."""
    with (web.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = web.start("lvs", [XDPLB, "set", "100", "0", "0"])
        second = web.start("lvs", [XDPLB, "set", "0", "50", "0"])
        deadline = time.monotonic() + 60
        while not (is_waiting(first.pid) and is_waiting(second.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    said = [each.communicate(timeout=60)[0] for each in (first, second)]

    assert ["", ""] == said
    assert {"tcp": 100, "tcpfin": 50, "udp": 300} == web.json("status")["timeouts"]
    web.xdplb("set", "900", "120", "300")


@pytest.mark.parametrize("text", ["", "[timeouts]\nudp = 300\n"])
def test_a_configuration_without_services_is_applied_if_that_is_meant(web, tmp_path, text):
    """With --allow-empty; and where there is no service, without it."""
    file = tmp_path / "empty.toml"
    file.write_text(text)

    refused = web.try_xdplb("apply", str(file))
    said = web.xdplb("apply", str(file), "--allow-empty")
    again = web.xdplb("apply", str(file))

    assert "no service, and would remove 1 service; mend it, or give" in refused.stderr
    assert f"- service tcp/{VIP}:80\n- real tcp/{VIP}:80 {RS1}\n" == said
    assert ("nothing to change\n", []) == (again, web.json("list"))


def test_save_to_standard_output(web):
    """By no name, by `-`, by its own."""
    saved = web.xdplb("save")

    assert saved == web.xdplb("save", "-") == web.xdplb("save", "/dev/stdout")
    assert "[[service]]" in saved


def test_the_largest_weight(web, tmp_path):
    """By the command line, and by a file; the other real keeps its turn."""
    web.xdplb("server", "edit", *T, "-r", RS1, "-w", "2147483647")
    web.xdplb("server", "add", *T, "-r", "192.168.2.210")
    saved = tmp_path / "saved.toml"
    web.xdplb("save", str(saved))

    said = web.xdplb("apply", str(saved))

    assert "nothing to change\n" == said
    assert [2147483647, 1] == [real["weight"] for real in web.json("list")[0]["reals"]]
    assert f'"{RS1} weight=2147483647"' in saved.read_text()
