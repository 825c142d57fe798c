# SPDX-License-Identifier: MIT
"""Locks and directories of ours: modes whatever the umask, and one command at a time."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from xdplb.errors import KernelRefused
from xdplb.host import directories, locks


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct, autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_is_private(tmp_path):
    """0700; what was missing above it 0755."""
    directories.make(tmp_path / "above" / "ours")

    assert (0o755, 0o700) == (mode(tmp_path / "above"), mode(tmp_path / "above" / "ours"))


def test_a_directory_that_is_there_becomes_private(tmp_path):
    """An older version may have made it for all to write; those above it stay as they are."""
    (tmp_path / "above").mkdir()
    (tmp_path / "above").chmod(0o750)
    (tmp_path / "above" / "ours").mkdir(0o777)
    (tmp_path / "above" / "ours").chmod(0o777)

    directories.make(tmp_path / "above" / "ours")

    assert (0o750, 0o700) == (mode(tmp_path / "above"), mode(tmp_path / "above" / "ours"))


def test_what_is_no_directory_is_refused(tmp_path):
    """One line names it."""
    (tmp_path / "ours").touch()

    with pytest.raises(KernelRefused, match=r"ours cannot be made: File exists"):
        directories.make(tmp_path / "ours")


def test_a_lock_is_private(tmp_path):
    """Whoever may open it could hold it for ever."""
    with locks.locked(tmp_path / "lock"):
        pass

    assert 0o600 == mode(tmp_path / "lock")


def test_a_lock_is_no_link(tmp_path):
    """A symbolic link would have another file made, or emptied."""
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(KernelRefused, match="cannot be locked"), locks.locked(tmp_path / "lock"):
        pass

    assert not (tmp_path / "elsewhere").exists()


def test_one_at_a_time(tmp_path):
    """Who comes second waits until the first one leaves."""
    order = []

    def second() -> None:
        with locks.locked(tmp_path / "lock"):
            order.append("second")

    with locks.locked(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join()

    assert ["first", "second"] == order


def test_a_lock_that_is_removed_holds_nobody_off_for_ever(tmp_path):
    """Whoever waited for the old file takes the new one: two of them never hold one lock."""
    taken = []

    def waiting() -> None:
        with locks.locked(tmp_path / "lock"):
            taken.append((tmp_path / "lock").stat().st_ino)

    with locks.locked(tmp_path / "lock"):
        thread = threading.Thread(target=waiting)
        thread.start()
        thread.join(0.1)
        (tmp_path / "lock").unlink()
        (tmp_path / "lock").touch()
        new = (tmp_path / "lock").stat().st_ino
    thread.join()

    assert [new] == taken


def test_what_is_started_meanwhile_does_not_hold_the_lock(tmp_path):
    """A daemon that a command starts lives longer than the command."""
    with locks.locked(tmp_path / "lock"):
        daemon = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
        )
    try:
        with locks.locked(tmp_path / "lock"):
            pass
    finally:
        daemon.communicate(b"\n")
