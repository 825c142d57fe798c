# SPDX-License-Identifier: MIT
"""The real server's script and its callers, without a kernel."""

import shutil
import subprocess

import pytest

from xdplb.errors import UsageError
from xdplb.model.address import parse_address
from xdplb.realserver import script, setup
from xdplb.realserver.host import Host
from xdplb.realserver.script import Fact
from xdplb.realserver.setup import Decap

VIP = parse_address("192.0.2.1")


@pytest.mark.parametrize("checker", [["dash", "-n"], ["shellcheck", "--shell=sh"]])
def test_script_is_plain_posix_shell(tmp_path, checker):
    """Any /bin/sh accepts the script."""
    if shutil.which(checker[0]) is None:
        pytest.skip(f"{checker[0]} is not installed")
    file = tmp_path / "realserver.sh"
    file.write_text(script.script())

    done = subprocess.run([*checker, file], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_script_cut_short_does_nothing(tmp_path):
    """If the connection breaks while the script is sent, the host is not changed."""
    whole = script.script()
    for length in range(0, whole.rindex("case $verb in") + 1, 997):
        trace = subprocess.run(
            ["sh", "-s", "setup", "--vip", "192.0.2.1"],
            input=whole[:length],
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "XDPLB_RUN": str(tmp_path / "run")},
            check=False,
        )
        assert trace.stdout == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "'' is no verb"),
        (["undo"], "'undo' is no verb"),
        (["setup", "--vip"], "--vip needs a value"),
        (["setup", "--vip", "192.0.2.256"], "--vip 192.0.2.256 is not an IP address"),
        (["setup", "--vip", "192.0.2"], "--vip 192.0.2 is not an IP address"),
        (["setup", "--director", "1.2.3.4; reboot"], "is not an IP address"),
        (["setup", "--director", "10.9.0.0/33"], "--director 10.9.0.0/33 is not a prefix"),
        (["setup", "--director", "10.9.0.0/"], "--director 10.9.0.0/ is not a prefix"),
        (["setup", "--director", "2001:db8::/129"], "--director 2001:db8::/129 is not a prefix"),
        (["setup", "--vip", "10.9.0.0/24"], "--vip 10.9.0.0/24 is not an IP address"),
        (
            ["setup", "--vip", "2001:DB8::1"],
            "is not an IP address, written as ip shows",
        ),
        (["setup", "--vip", "2001:db8:1"], "--vip 2001:db8:1 is not an IP address"),
        (["setup", "--vip", "::1; reboot"], "is not an IP address"),
        (["check", "--decap", "gre"], "--decap gre is unknown"),
        (["check", "--now", "1"], "--now is unknown"),
        (["setup"], "setup needs a --vip"),
    ],
)
def test_script_refuses_what_it_does_not_know(arguments, message):
    """Bad arguments end in one line with the usage, and status 2."""
    done = subprocess.run(
        ["sh", "-s", *arguments],
        input=script.script(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert message in line


def test_host_is_here_in_a_namespace_or_behind_ssh():
    """The command is the same everywhere; ssh gets it quoted, and asks nobody for a password."""
    assert Host().command(["sh", "-c", "a b"]) == ["sh", "-c", "a b"]
    assert Host(ssh="root@rs1").command(["sh", "-c", "a b"]) == [
        *("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
        *("root@rs1", "sh", "-c", "'a b'"),
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Host(netns="a", ssh="b"),
        lambda: Host(ssh="-oProxyCommand=reboot"),
        lambda: Host(ssh=""),
        lambda: setup.setup(Host(ssh="rs1"), [VIP], decap=Decap.XDP),
        lambda: setup.setup(Host(), []),
        lambda: setup.setup(Host(), [parse_address("fe80::1")]),
        lambda: setup.setup(Host(), [VIP], devices=["-x"]),
    ],
)
def test_contradictions_are_refused(make):
    """What cannot be meant is refused before anything runs."""
    with pytest.raises(UsageError):
        make()


def test_report_is_read_back():
    """Facts and settings are what the script printed, fields separated by tabs."""
    report = script._parse(
        "arp_ignore\t1\t0 on eth0\t0\tsysctl -w a=1\n"
        "tunl0\tup\tup\t1\t\n"
        "#vip\t192.0.2.1 192.0.2.2\n#director\t\n"
    )

    assert report.facts == (
        Fact("arp_ignore", "1", "0 on eth0", False, "sysctl -w a=1"),
        Fact("tunl0", "up", "up", True, ""),
    )
    assert report.settings == {"vip": ("192.0.2.1", "192.0.2.2"), "director": ()}
