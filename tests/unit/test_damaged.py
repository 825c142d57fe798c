# SPDX-License-Identifier: MIT
"""Files of ours that somebody damaged, or put in our way: they are noticed when they are read."""

import json
import os

import pytest

from xdplb.cli import batch
from xdplb.director import files, host_shares, state_file
from xdplb.director.instance import Instance
from xdplb.director.journal import Journal
from xdplb.director.state import Attached, State
from xdplb.errors import Conflict, FileError, XdplbError
from xdplb.host import directories

GOOD_SHARES = {"sysctls": {"a": "0"}, "holders": ["x"], "addresses": {}, "passing": {}}


@pytest.mark.parametrize(
    "content",
    [
        '{"services":5,"hops":[],"machine":false,"failed":""}',
        '{"services":[5],"hops":[],"machine":false,"failed":""}',
        '{"services":["tcp/x"],"hops":[],"machine":false,"failed":""}',
        '{"services":[],"hops":[["a"]],"machine":false,"failed":""}',
        "[" * 100_000,
        "{}",
        "",
    ],
    ids=lambda content: content[:40],
)
def test_a_damaged_journal_has_everything_looked_at(tmp_path, content):
    """It locks nobody out."""
    instance = Instance()
    instance.run = tmp_path
    instance.journal.write_text(content)

    assert Journal(machine=True) == Journal.read(instance)


@pytest.mark.parametrize(
    "change",
    [
        {"holders": 5},
        {"holders": [5]},
        {"addresses": None},
        {"addresses": {"1.2.3.4": ["ens33", [1]]}},
        {"addresses": {"nobody": ["ens33", ["x"]]}},
        {"passing": float("inf")},
        {"sysctls": {"a": 0}},
    ],
    ids=str,
)
def test_damaged_shares_are_not_believed(change):
    """Nor are some that lack a field. The copies tell then."""
    lacking = dict(GOOD_SHARES)
    lacking.pop(next(iter(change)))

    assert host_shares._decode(json.dumps(GOOD_SHARES).encode()) is not None
    assert host_shares._decode(json.dumps({**GOOD_SHARES, **change}).encode()) is None
    assert host_shares._decode(json.dumps(lacking).encode()) is None
    assert host_shares._decode(b"{}") is None


def attached() -> dict:
    """A state with a director that is attached, as JSON has it."""
    tables = {"reals": {"key": "unsigned int", "leaf": "unsigned int"}}
    state = State(attached=Attached("0123", "programs_7", 250, tables, {"reals": 3}, {}))
    return json.loads(state_file.encode(state))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("attached", "tables", "reals"), {"a": 1}),
        (("attached", "tables", "reals", "leaf"), "no type"),
        (("attached", "map_ids"), {}),
        (("allocated", "next_real"), float("inf")),
    ],
    ids=str,
)
def test_a_wrong_value_in_the_state_is_found_at_once(path, value):
    """So that the copy is read instead."""
    raw = attached()
    *above, last = path
    inner = raw
    for name in above:
        inner = inner[name]
    inner[last] = value

    with pytest.raises(state_file.Damaged):
        state_file.decode(json.dumps(raw).encode(), "state.json")


def test_a_pipe_in_place_of_a_file(tmp_path):
    """Nobody waits for its other end."""
    os.mkfifo(tmp_path / "state.json")

    with pytest.raises(XdplbError, match="cannot be read: it is no regular file"):
        files.read_bytes(tmp_path / "state.json")


def test_directories_that_another_steers(tmp_path):
    """A link is refused; a directory of ours, and none, are fine."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ours")

    directories.check_ours(tmp_path / "ours")
    directories.check_ours(tmp_path / "none")

    with pytest.raises(Conflict, match=r"link is not a directory of ours"):
        directories.check_ours(tmp_path / "link")


def test_a_directory_of_another_user(tmp_path):
    """Its owner could replace what we write there."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)

    with pytest.raises(Conflict, match=r"theirs is not a directory of ours"):
        directories.check_ours(tmp_path / "theirs")


def test_long_lines_of_a_batch():
    """Splitting takes time by the square of a line's length: it has a bound."""
    with pytest.raises(FileError, match="line 2 has 5000 characters; give at most 4096"):
        list(batch._lines("flush\n" + 5000 * "a"))
