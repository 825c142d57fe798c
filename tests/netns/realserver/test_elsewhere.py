# SPDX-License-Identifier: MIT
"""The script elsewhere: behind ssh, and at boot."""

import os
import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from xdplb.errors import NotFound, UsageError, XdplbError
from xdplb.model.address import parse_address
from xdplb.realserver import script, setup
from xdplb.realserver.host import Host
from xdplb.realserver.setup import Decap

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[3]

VIP, OTHER_VIP = parse_address("192.168.2.100"), parse_address("192.168.2.101")
DIRECTOR = parse_address("192.168.2.200")


@pytest.fixture
def ssh(real, tmp_path, monkeypatch):
    """A transport only: it drops the host's name, and runs the rest in the namespace."""
    fake = tmp_path / "ssh"
    fake.write_text(
        textwrap.dedent(f"""\
            #!/bin/sh
            while [ "$1" = -o ]; do shift 2; done
            [ "$1" = real.example ] || {{ echo "ssh: no such host $1" >&2; exit 255; }}
            shift
            exec nsenter --net=/run/netns/{real.name} sh -c "$*"
            """)
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Host(ssh="real.example")


def test_script_goes_through_ssh(real, ssh):
    """A remote host is checked, and torn down, by the script alone."""
    setup.setup(real.host, [VIP])

    facts = setup.check(ssh, [VIP])
    assert [fact for fact in facts if not fact.ok] == []
    setup.teardown(ssh)

    assert f"vip {VIP}" in real.wrong()
    assert "xdplb_realserver" not in real.run("nft list ruleset")


def test_remote_host_without_ipip_is_one_clear_line(real, ssh, has_ipip):
    """XDP unwrapping needs xdplb on the host itself, and the message says what to do instead."""
    with pytest.raises(UsageError, match=r"needs xdplb on real\.example itself.*modprobe ipip"):
        setup.setup(ssh, [VIP], decap=Decap.XDP)
    if not has_ipip:
        with pytest.raises(XdplbError, match=r"^real\.example: this kernel has no ipip"):
            setup.setup(ssh, [VIP])


def test_remote_host_out_of_reach_is_one_clear_line(ssh):
    """What ssh says is handed on, with the line to try."""
    with pytest.raises(XdplbError, match=r"cannot reach nowhere by ssh.*; try: ssh nowhere true"):
        setup.check(Host(ssh="nowhere"), [VIP])


def test_unknown_namespace_is_named():
    """A namespace that does not exist is named before anything runs."""
    with pytest.raises(NotFound, match=r"'nowhere' does not exist; see: ip netns list"):
        Host(netns="nowhere")


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A machine with systemd as far as the script looks, which writes down what it is told."""
    calls = tmp_path / "calls"
    fake = tmp_path / "systemctl"
    fake.write_text(f'#!/bin/sh\necho "$*" >>{calls}\n')
    fake.chmod(0o755)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDPLB_ETC", str(tmp_path / "etc"))
    monkeypatch.setenv("XDPLB_RUN", str(tmp_path / "run"))
    return tmp_path


def test_persist_installs_a_unit_and_teardown_removes_it(real, systemd):
    """A unit runs the stored script at boot with all that is set up; it goes with the last VIP."""
    installed = systemd / "etc/xdplb/realserver.sh"
    unit = systemd / "etc/systemd/system/xdplb-realserver.service"
    file = systemd / "file.sh"
    file.write_text(script.script())
    environment = f"XDPLB_BOOT_COMMAND={sys.executable}"

    def run(arguments: str) -> None:
        real.run(f"{environment} sh {file} {arguments}")

    run(f"setup --decap xdp --vip {VIP} --persist")
    run(f"setup --vip {OTHER_VIP} --director {DIRECTOR}")

    assert installed.read_text() == script.script()
    start = (
        f"ExecStart={sys.executable} setup --persist --decap xdp "
        f"--vip {VIP} --vip {OTHER_VIP} --director {DIRECTOR}\n"
    )
    assert start in unit.read_text()
    run(f"teardown --vip {VIP}")
    assert str(VIP) not in unit.read_text()
    run("teardown")
    assert not unit.exists()
    assert not installed.exists()
    assert "enable --quiet xdplb-realserver.service" in (systemd / "calls").read_text()


def test_persist_without_systemd_is_one_clear_line(real, systemd):
    """Where systemd does not run, --persist says so before anything is changed."""
    shutil.rmtree(systemd / "run/systemd")
    file = systemd / "file.sh"
    file.write_text(script.script())
    before = real.everything()

    with pytest.raises(AssertionError, match="needs systemd, which does not run here"):
        real.run(f"sh {file} setup --decap xdp --vip {VIP} --persist")

    assert before == real.everything()


def test_persist_is_one_command(real, systemd):
    """The command sends the script as a file, and systemd gets the command that can unwrap."""
    setup = (
        "from xdplb.realserver import setup as r; "
        "from xdplb.model.address import parse_address as a; "
        f"r.setup(r.Host(), [a('{VIP}')], decap=r.Decap.XDP, persist=True)"
    )
    (systemd / "xdplb").touch(mode=0o755)

    real.run(f'cd {ROOT}; {sys.executable} -c "{setup}"')

    unit = (systemd / "etc/systemd/system/xdplb-realserver.service").read_text()
    assert f"realserver setup --persist --decap xdp --vip {VIP}\n" in unit
    assert (systemd / "etc/xdplb/realserver.sh").read_text() == script.script()
    assert real.wrong() == set()
