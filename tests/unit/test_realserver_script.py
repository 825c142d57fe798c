# SPDX-License-Identifier: MIT
"""The real server's script and its callers, without a kernel."""

import os
import shutil
import stat
import subprocess
from functools import partial

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
        (["setup", "--vip", ""], "--vip  is not an IP address"),
        (["setup", "--vip", "192.0.2.1\n192.0.2.2"], "--vip 192.0.2.1?192.0.2.2 is not an IP"),
        (["setup", "--vip", "127.0.0.1"], "--vip 127.0.0.1 never leaves a host"),
        (["setup", "--vip", "::1"], "--vip ::1 never leaves a host"),
        (["setup", "--vip", "0.1.2.3"], "--vip 0.1.2.3 is no host's address"),
        (["setup", "--vip", "239.1.2.3"], "--vip 239.1.2.3 is no host's address"),
        (["setup", "--vip", "::"], "--vip :: is no host's address"),
        (["setup", "--vip", "ff02::1"], "--vip ff02::1 is no host's address"),
        (["setup", "--vip", "fe80::1"], "--vip fe80::1 is of one link only"),
        (["setup", "--director", "10.0.0.0/8\n"], "--director 10.0.0.0/8? is not a prefix"),
        (["setup", "--dev", ""], "--dev  is not an interface"),
        (["setup", "--dev", "eth0 eth1"], "--dev eth0 eth1 is not an interface"),
        (["setup", "--dev", "eth0\neth1"], "--dev eth0?eth1 is not an interface"),
        (["setup", "--dev", "-x"], "--dev -x is not an interface"),
        (["setup", "--dev", "../../x"], "--dev ../../x is not an interface"),
        (["setup", "--dev", "all"], "--dev all is not an interface"),
        (["setup", "--dev", "sixteen_letters_"], "--dev sixteen_letters_ is not an interface"),
        (["setup", "--vip", "192.0.2.1", "--a\nb", "c"], "--a?b is unknown"),
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
        lambda: setup.setup(Host(), [VIP], [VIP]),
        lambda: setup.setup(Host(), [parse_address("2001:db8::1")], [parse_address("2001:db8::1")]),
        *(
            partial(setup.setup, Host(), [VIP], devices=[name])
            for name in (
                "",
                "-x",
                "a b",
                "a\nb",
                "a\tb",
                "a\x1bb",
                "a/b",
                "a:b",
                "sixteen_letters_",
            )
        ),
        *(partial(Host, ssh=name) for name in ("a b", "root@a\nb", "a\x1b[2J", "a\u2028b")),
        *(partial(Host, netns=name) for name in ("", ".", "..", "a/b", "a b", "a\nb", "-a")),
    ],
)
def test_contradictions_are_refused(make):
    """What cannot be meant is refused before anything runs."""
    with pytest.raises(UsageError) as refusal:
        make()
    assert str(refusal.value).isprintable()


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


@pytest.mark.parametrize(
    ("host", "decap", "wanted"),
    [
        (Host(), "xdp", "xdplb realserver setup --vip 192.0.2.1 --decap xdp"),
        (
            Host(ssh="root@rs1"),
            "ipip",
            "xdplb realserver setup --ssh root@rs1 --vip 192.0.2.1 --decap ipip",
        ),
        # Unwrapping by XDP is set up on the host itself.
        (Host(ssh="root@rs1"), "xdp", "xdplb realserver setup --vip 192.0.2.1 --decap xdp"),
    ],
)
def test_mends_are_typed_here(host, decap, wanted):
    """What the script says of setup is said as it is typed where the person is."""
    told = f"xdplb realserver setup --vip 192.0.2.1 --decap {decap}"

    report = script._reachable(host, script._parse(f"mss\t1\t2\t0\t{told}\n#setup\t{told}\n"))

    assert (wanted, wanted) == (report.facts[0].mend, report.setup)


@pytest.mark.parametrize("verb", ["setup", "check", "teardown"])
def test_unprivileged_is_told_why(verb, tmp_path):
    """What of it is root's: check changes nothing, and does not say that it does."""
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    done = subprocess.run(
        ["sh", "-s", verb, "--vip", "192.0.2.1"],
        input=script.script(),
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=False,
    )

    wanted = f"error: {verb} {script.ROOTS[verb]}; run it with sudo, or as root@HOST\n"
    assert (2, "", wanted) == (done.returncode, done.stdout, done.stderr)
    assert ("changes" in done.stderr) == (verb != "check")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_what_is_written_down_is_root_s(tmp_path, umask):
    """The directory of states, made or found, and the lock in it, whatever the umask is."""
    if os.geteuid() != 0:
        pytest.skip("teardown asks for root first")
    for made_before in (False, True):
        run = tmp_path / f"run-{made_before}"
        if made_before:
            (run / "xdplb/realserver").mkdir(parents=True)
            (run / "xdplb/realserver").chmod(0o777)
        subprocess.run(
            ["sh", "-s", "teardown", "--vip", "192.0.2.1"],
            input=script.script(),
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "XDPLB_RUN": str(run)},
            umask=umask,
            check=False,
        )

        modes = [
            stat.S_IMODE((run / path).stat().st_mode)
            for path in ("xdplb", "xdplb/realserver", "xdplb/realserver/lock")
        ]
        assert modes[1:] == [0o700, 0o600]
        assert modes[0] & 0o022 == 0 or made_before
