# SPDX-License-Identifier: MIT
"""Files of /run that are lost or damaged while traffic flows: nothing stops, all is found again.

Never the machine's own /run/xdplb as a whole: what this lab's director has there is all that it
would lose.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fivehosts import RS1, RS2, Lab
from photo import machine

from xdplb.director.instance import RUN
from xdplb.lab import VIP

pytestmark = [pytest.mark.root, pytest.mark.slow]

AT = ("-t", f"{VIP}:80")


@pytest.fixture
def served_by_rr(cluster: Lab) -> Iterator[Lab]:
    """A director of rr over two reals, with another VIP, attached anew."""
    cluster.attach(vips=[VIP, "192.168.2.101"])
    cluster.balance("rr")
    yield cluster
    cluster.try_xdplb("detach", "ens33")
    clean(cluster)


def clean(lab: Lab) -> None:
    """Leave nothing to the next test, whatever went wrong in this one."""
    lose_all(lab)
    for vip in (VIP, "192.168.2.101"):
        lab.run("lvs", "ip", "address", "delete", f"{vip}/32", "dev", "ens33", check=False)


def lose_all(lab: Lab) -> None:
    """All that the director has in /run/xdplb."""
    shutil.rmtree(lab.state, ignore_errors=True)
    for path in (lab.instance.shares, lab.instance.shares.with_suffix(".lock")):
        path.unlink(missing_ok=True)


def truncate(lab: Lab) -> None:
    os.truncate(lab.instance.state, lab.instance.state.stat().st_size // 2)


LOSSES: dict[str, Callable[[Lab], object]] = {
    "truncated": truncate,
    "not a state": lambda lab: lab.instance.state.write_text("{}"),
    "directory removed": lambda lab: shutil.rmtree(lab.state),
    "shares damaged": lambda lab: lab.instance.shares.write_text("[]"),
    "all of /run/xdplb removed": lose_all,
}


@contextlib.contextmanager
def requests(lab: Lab) -> Iterator[None]:
    """Wrk asks all the while, by new connections and by kept ones; not one request fails."""
    ask = ["wrk", "-t1", "-c8", "-d60s", "--timeout=5s"]
    urls = ([f"http://{VIP}/"], ["-H", "Connection: close", f"http://{VIP}/"])
    running = [lab.start("client", [*ask, *url]) for url in urls]
    time.sleep(0.3)
    try:
        yield
        time.sleep(0.3)
    finally:
        for each in running:
            each.send_signal(2)  # it prints what it has
        told = [each.communicate(timeout=20)[0] for each in running]
    for text in told:
        assert "requests in" in text, text
        assert " 0 requests in" not in text, text
        assert "Socket errors" not in text, text
        assert "Non-2xx" not in text, text


def sent(lab: Lab) -> int:
    """How many flows the reals were given."""
    return sum(real["stats"]["flows"] for real in lab.json("list", "--stats")[0]["reals"])


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_stops_and_all_comes_back(cluster, loss):
    """Commands that read still tell the truth, one that changes mends the file, attach empties
    nothing, and detach puts the machine back as it was.
    """
    before = machine(cluster)
    cluster.attach(vips=[VIP, "192.168.2.101"])
    cluster.balance("rr")
    try:
        saved = cluster.xdplb("save")
        with requests(cluster):
            LOSSES[loss](cluster)

            assert saved == cluster.xdplb("save")
            status = cluster.json("status")
            assert {"ens33": "native"} == {n: i["mode"] for n, i in status["interfaces"].items()}
            assert {VIP, "192.168.2.101"} == set(status["interfaces"]["ens33"]["added_vips"])
            flows = sent(cluster)

            cluster.xdplb("server", "edit", *AT, "-r", RS1, "-w", "2")
            assert cluster.instance.state.exists()
            LOSSES[loss](cluster)
            assert "upgraded in place" in cluster.xdplb("attach", "ens33")
            assert sent(cluster) > flows > 0

        assert cluster.json("list", "--flows")
        LOSSES[loss](cluster)
    finally:
        told = cluster.try_xdplb("detach", "ens33")
        after = machine(cluster)
        clean(cluster)
    assert 0 == told.returncode, told.stderr
    assert before == after


def test_file_and_copy_lost(served_by_rr):
    """Nobody knows the state: attach refuses in one line and traffic flows on; detach takes the
    program off, with the VIPs and sysctls that the shares still tell.
    """
    lab = served_by_rr
    with requests(lab):
        lab.instance.state.unlink()
        lab.instance.state_copy.unlink()

        refused = lab.try_xdplb("attach", "ens33")

        assert 1 == refused.returncode
        assert 1 == len(refused.stderr.splitlines())
        assert "a director forwards on ens33, and its state is lost" in refused.stderr
        assert "detach ens33" in refused.stderr
        status = lab.try_xdplb("status")
        assert 1 == status.returncode
        assert 1 == len(status.stderr.splitlines())
    assert "detached" in lab.xdplb("detach", "ens33")
    after = machine(lab)
    assert {} == after["programs"]
    assert after["pins"] is None
    assert f"{VIP}/" not in str(after["addresses"])
    assert ["/proc/sys/net/ipv4/conf/lo/forwarding:0"] == [
        line for line in after["settings"] if "lo/forwarding" in line
    ]


def test_a_lost_pin_and_a_lost_file(served_by_rr):
    """What cannot be brought to order is left as it is: no command takes the director off. It is
    named by status, and attach again heals it.
    """
    lab = served_by_rr
    with requests(lab):
        (lab.pins / layout(lab) / "denied").unlink()
        lab.instance.state.unlink()

        for words in (("server", "edit", *AT, "-r", RS1, "-w", "2"), ("set", "60", "0", "0")):
            refused = lab.try_xdplb(*words)
            assert 1 == refused.returncode
            assert 1 == len(refused.stderr.splitlines())
            assert "/denied is gone" in refused.stderr, refused.stderr
            assert "attach again: xdplb attach ens33" in refused.stderr
        assert lab.state.exists()

    said = lab.xdplb("attach", "ens33")  # new tables: connections of rr break, no new ones do
    assert "services are kept" in said
    with requests(lab):
        lab.xdplb("server", "edit", *AT, "-r", RS1, "-w", "2")
    assert "" == lab.json("status")["unfinished"]


def layout(lab: Lab) -> str:
    """The directory of the tables in force."""
    return Path(lab.json("status")["program"]["path"]).parts[-3]


def test_a_replaced_table_is_noticed(served_by_rr):
    """Somebody pins another map in the place of a table's: every command says so in one line, the
    program forwards by its own, and attach again heals.
    """
    lab = served_by_rr
    pin = lab.pins / layout(lab) / "reals"
    name = lab.pins / "other"
    create = f"bpftool map create {name} type array key 4 value 8 entries 1 name reals"
    with requests(lab):
        subprocess.run(create.split(), check=True)
        pin.unlink()
        name.rename(pin)
        for words in (
            *(["list"], ["status"], ["save"], ["flush"], ["deny", "add", "203.0.113.1"]),
            ["server", "add", *AT, "-r", "192.168.2.230"],
        ):
            refused = lab.try_xdplb(*words)
            assert 1 == refused.returncode, words
            assert 1 == len(refused.stderr.splitlines())
            assert f"the table {pin} was replaced" in refused.stderr
            assert "attach again: xdplb attach ens33" in refused.stderr

    lab.xdplb("attach", "ens33")
    with requests(lab):
        assert [RS1, RS2] == [real["address"] for real in lab.json("list")[0]["reals"]]
        lab.xdplb("server", "edit", *AT, "-r", RS1, "-w", "2")


def test_another_run_directory(served_by_rr, tmp_path):
    """A mount over /run/xdplb hides all of it: every command reads the pinned copy and goes on."""
    lab = served_by_rr
    mount = f'mount -t tmpfs none {RUN} && exec "$@"'
    hidden = ["unshare", "-m", "sh", "-ec", mount, "sh"]
    xdplb = str(Path(os.sys.executable).with_name("xdplb"))
    saved = lab.xdplb("save")
    with requests(lab):
        assert saved == lab.output("lvs", *hidden, xdplb, "save")
        lab.output("lvs", *hidden, xdplb, "server", "edit", *AT, "-r", RS1, "-w", "3")
