# SPDX-License-Identifier: MIT
"""Changes that cannot be finished: named, rolled back, and in nobody's way. No disk, no room."""

import ctypes
import json
import subprocess
from collections.abc import Iterator

import pytest
from fivehosts import RS1, RS2, XDPLB, Lab
from photo import files, machine, tables

from xdplb.director import state_file, store
from xdplb.director.instance import RUN
from xdplb.director.journal import Journal
from xdplb.kernel.service_tables import ServiceTables, buckets_of
from xdplb.kernel.tables import elements
from xdplb.lab import VIP
from xdplb.model.service import Service, ServiceKey

pytestmark = [pytest.mark.root, pytest.mark.slow]

AT = ("-t", f"{VIP}:80")
OTHER = "192.168.2.107"  # another VIP
PORT = 4711  # of the service that finds no room


@pytest.fixture
def director(cluster: Lab) -> Iterator[Lab]:
    """An attached director of two reals."""
    cluster.attach()
    cluster.try_xdplb("vip", "del", OTHER)  # VIPs outlive a detach
    cluster.balance("rr")
    yield cluster
    cluster.try_xdplb("flush")
    cluster.try_xdplb("detach", "ens33")


def refused(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line of a command that failed with exit code 1."""
    assert 1 == done.returncode, done
    assert 1 == len(done.stderr.splitlines()), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def fill_buckets(lab: Lab, key: ServiceKey) -> None:
    """Fill both buckets of a service with entries of nobody, as other services' would."""
    opened = store.open_tables(lab.instance, store.read_state(lab.instance))
    number = ServiceTables(opened)._key(key)
    assert number is not None
    buckets = elements(opened.director[0].services)
    for bucket in buckets_of(number, len(buckets).bit_length() - 1):
        for way, entry in enumerate(buckets[bucket].entry):
            if not entry.key:
                entry.key = 0xFFFF << 48 | bucket << 8 | way
    opened.close()


def empty_buckets(lab: Lab) -> None:
    """Take those entries away again."""
    opened = store.open_tables(lab.instance, store.read_state(lab.instance))
    for bucket in elements(opened.director[0].services):
        for entry in bucket.entry:
            if entry.key >> 48 == 0xFFFF:
                ctypes.memset(ctypes.addressof(entry), 0, ctypes.sizeof(entry))
    opened.close()


def killed_after_the_state(lab: Lab, key: ServiceKey) -> None:
    """What a `service add` leaves that was killed when it had written journal and state."""
    instance = lab.instance
    state = store.read_state(instance)
    state.put_service(Service(key, "rr"))
    Journal([str(key)]).begin(instance)
    store.write_state(instance, state)


def test_a_full_bucket_and_a_kill(director):
    """The state names a service that the tables cannot take: the next change undoes it and is done,
    status names what is unfinished until then.
    """
    lab = director
    key = ServiceKey.parse(f"tcp/{VIP}:{PORT}")
    saved = lab.xdplb("save")
    fill_buckets(lab, key)
    photo = tables(lab)
    assert "both its buckets are full" in refused(
        lab.try_xdplb("service", "add", "-t", f"{VIP}:{PORT}")
    )
    assert saved == lab.xdplb("save")
    assert "" == lab.json("status")["unfinished"]

    fill_buckets(lab, key)  # the command before pruned what it did not know
    killed_after_the_state(lab, key)
    assert "its command was killed" in lab.json("status")["unfinished"]
    assert "its command was killed" in lab.xdplb("status")

    lab.xdplb("server", "edit", *AT, "-r", RS1, "-w", "2")

    assert "" == lab.json("status")["unfinished"]
    assert not lab.instance.journal.exists()
    assert lab.xdplb("list").count("→") > 0
    assert {"rs1", "rs2"} == set(lab.fetch(4))
    empty_buckets(lab)
    assert photo.keys() == tables(lab).keys()


def test_neither_finished_nor_undone(director):
    """A table's pin is lost in the midst of a change: each change says so in one line, status says
    why, reading commands work as far as they can, and detach and attach are not in its way.
    """
    lab = director
    killed_after_the_state(lab, ServiceKey.parse(f"tcp/{VIP}:{PORT}"))
    pin = lab.pins / store.read_state(lab.instance).attached.layout / "vlans"
    pin.unlink()

    for words in (["flush"], ["server", "add", *AT, "-r", "192.168.2.230"], ["zero"]):
        told = refused(lab.try_xdplb(*words))
        assert f"the table {pin} is gone" in told
        assert "attach again: xdplb attach ens33" in told
    journal = Journal.read(lab.instance)
    assert journal is not None
    assert f"the table {pin} is gone" == journal.failed
    assert f"the table {pin} is gone" in refused(lab.try_xdplb("status"))
    assert {"rs1", "rs2"} == set(lab.fetch(4))

    assert "services are kept" in lab.xdplb("attach", "ens33")
    assert "" == lab.json("status")["unfinished"]
    assert {"rs1", "rs2"} == set(lab.fetch(4))


def test_detach_with_a_lost_pin(cluster):
    """Whatever is lost and unfinished, detach takes everything off."""
    before = machine(cluster)
    cluster.attach()
    cluster.balance("rr")
    killed_after_the_state(cluster, ServiceKey.parse(f"tcp/{VIP}:{PORT}"))
    (cluster.pins / store.read_state(cluster.instance).attached.layout / "vlans").unlink()

    cluster.xdplb("detach", "ens33")

    assert before == machine(cluster)
    assert not cluster.instance.journal.exists()


def test_a_damaged_state_before(director):
    """before.json is not needed while the state itself will do."""
    lab = director
    killed_after_the_state(lab, ServiceKey.parse(f"tcp/{VIP}:{PORT}"))
    lab.instance.before.unlink()  # a link to the old state: not to be written to
    lab.instance.before.write_text("{")

    lab.xdplb("server", "edit", *AT, "-r", RS2, "-w", "2")

    assert f"{VIP}:{PORT}" in lab.xdplb("list")
    assert not lab.instance.before.exists()


# ---- no room, no writing ------------------------------------------------------------------------

CHANGES = {
    "server edit": ["server", "edit", *AT, "-r", RS1, "-w", "7"],
    "service add": ["service", "add", "-t", f"{VIP}:{PORT}"],
    "vip add": ["vip", "add", OTHER],
    "attach": ["attach", "ens33"],
    "detach": ["detach", "ens33"],
}


def hindered(lab: Lab, how: str, *argv: str) -> "subprocess.CompletedProcess[str]":
    """Run xdplb in a mount namespace of its own, whose /run/xdplb is full or read-only.

    It has the director's files. (Nobody else's /run is touched.)
    """
    run, shares = str(lab.state), lab.instance.shares
    script = f"""
        mkdir -p $S && cp -a {run} $S/director && {{ cp {shares} $S/shares || :; }}
        mount -t tmpfs -o size=1m none {RUN}
        cp -a $S/director {run}; cp $S/shares {shares} || :
        rm -r $S
        {how}
        exec "$@"
    """
    scratch = f"/tmp/xdplb-test-{lab.name}"
    command = ["unshare", "-m", "env", f"S={scratch}", "sh", "-c", script, "sh", XDPLB, *argv]
    return lab.run("lvs", *command, check=False)


HINDRANCES = {
    "full": (f"dd if=/dev/zero of={RUN}/fill bs=4k 2>/dev/null || :", ": No space left on device"),
    "read-only": (f"mount -o remount,ro {RUN}", ": Read-only file system"),
}


@pytest.mark.parametrize("hindrance", HINDRANCES)
def test_no_room_for_a_change(director, hindrance):
    """One line, exit code 1, nothing half done; where there is room again, it works."""
    lab = director
    how, reason = HINDRANCES[hindrance]
    before = machine(lab), files(lab)
    photo = tables(lab)
    for name, words in CHANGES.items():
        told = refused(hindered(lab, how, *words))
        assert reason in told, (name, told)
        assert before == (machine(lab), files(lab)), name
        assert photo == tables(lab), name
    assert {"rs1", "rs2"} == set(lab.fetch(4))
    for words in CHANGES.values():
        lab.xdplb(*words)
    assert {} == machine(lab)["programs"]


def test_a_file_that_may_not_grow(director):
    """RLIMIT_FSIZE below the state's size is a disk that is full: one line, nothing half done."""
    before = machine(director), files(director)

    limited = ["prlimit", "--fsize=100", XDPLB, *CHANGES["server edit"]]
    told = refused(director.run("lvs", *limited, check=False))

    assert "cannot be written: File too large" in told
    assert before == (machine(director), files(director))
    director.xdplb(*CHANGES["server edit"])
    assert 7 == director.json("list")[0]["reals"][0]["weight"]
    state = json.loads(director.instance.state.read_bytes())
    assert state_file.VERSION == state["version"]
