# SPDX-License-Identifier: MIT
"""What is asked wrongly, or cannot be done, gets one line with the mend; and nothing changes.

One director serves all these tests, for none of them may change it.
"""

import os
import subprocess
from collections.abc import Iterator

import pytest
from fivehosts import RS1, RS2, XDPLB, Lab, served
from photo import files, machine, tables
from refusals import CONFIGURATION, CONFLICTS, NOWHERE, SERVICE, SIZES, WRONG, T, U

from xdplb import lab as labs
from xdplb.host import namespaces, netlink
from xdplb.kernel import libbpf
from xdplb.lab import VIP

pytestmark = pytest.mark.root

IN_PRIVATE = ["unshare", "--mount", "sh", "-ec"]
XDP_PASS = bytes.fromhex("b7000000020000009500000000000000")  # r0 = 2; exit


@pytest.fixture(scope="module")
def lvs() -> Iterator[Lab]:
    """A director with two services; interfaces that are taken or have no native XDP; no route."""
    with served() as lab:
        lab.attach(**SIZES)
        lab.apply(CONFIGURATION)
        lab.run("lvs", "ip", "route", "add", "unreachable", "203.0.113.0/24")
        lab.run("lvs", "ip", "-6", "route", "add", "unreachable", "2001:db8:9::/48")
        lab.run("lvs", "ip", "link", "add", "taken", "type", "veth", "peer", "name", "peer")
        lab.run("lvs", "ip", "link", "add", "bridge9", "type", "bridge")
        with namespaces.entered(f"{lab.name}-lvs"):
            netlink.attach_xdp("taken", libbpf.prog_load(XDP_PASS))
        yield lab


def photo(lab: Lab) -> dict[str, object]:
    """All that must stay as it is."""
    return {**machine(lab), "files": files(lab), "tables": tables(lab)}


_last: dict[Lab, dict[str, object]] = {}  # the photo that the test before took


def refused(lab: Lab, code: int, words: str, *argv: str, **options: object) -> None:
    """Run a command that fails so, says these words and a mend in one line, and changes nothing."""
    before = _last.get(lab) or photo(lab)

    done = subprocess.run(
        labs.command(lab.name, "lvs", argv),
        env={**os.environ, **options.pop("env", {})},
        capture_output=True,
        text=True,
        **options,
    )

    assert (code, "") == (done.returncode, done.stdout), done.stderr
    said = done.stderr.removeprefix("compiling xdplb.c, once\n")
    assert said.startswith("xdplb: ")
    assert 1 == said.count("\n")
    assert words in said
    _, semicolon, mend = said.partition("; ")
    assert semicolon and mend.strip(), f"no mend: {said}"
    _last[lab] = photo(lab)
    assert before == _last[lab]


@pytest.mark.parametrize("case", WRONG)
def test_what_is_asked_wrongly(lvs, case):
    """It is refused as a mistake of the user's, in one line, and nothing has changed."""
    words, *command = WRONG[case]
    refused(lvs, 2, words, XDPLB, *command)


@pytest.mark.parametrize("case", CONFLICTS)
def test_what_contradicts_what_there_is(lvs, case):
    """The command line is right: it fails, in one line, and nothing has changed."""
    words, *command = CONFLICTS[case]
    refused(lvs, 1, words, XDPLB, *command)


FILES = {
    "empty": ("no service, and would remove 2 services; mend it, or give --allow-empty", ""),
    "only timeouts": ("no service, and would remove 2 services", "[timeouts]\ntcp = 7"),
    "deny all": ("0.0.0.0/0 denies every IPv4 client", 'deny = ["0.0.0.0/0"]'),
    "loopback": ("VIP 127.0.0.1 never leaves a host", '[[service]]\ntcp = "127.0.0.1:80"'),
    "no TOML": ("not TOML", "[[service"),
    "unknown key": ("unknown key 'reel'", f'[[service]]\ntcp = "{SERVICE}"\nreel = 1'),
    "unknown table": ("unknown key 'services'", "[services]"),
    "no service": ("it has neither tcp nor udp", "[[service]]"),
    "weight": ("'x' will not do", f'[[service]]\ntcp = "{SERVICE}"\nreals = ["{RS1} weight=x"]'),
    "timeout": ("udp: 0 s is out of range", "[timeouts]\nudp = 0"),
    "host bits": ("write 192.0.2.0/24", "deny = ['192.0.2.7/24']"),
    "too many prefixes": (
        "3 prefixes to deny",
        CONFIGURATION.replace('"203.0.113.9"', '"203.0.113.9", "192.0.2.1"'),
    ),
    "service twice": ("there are two tables", f'[[service]]\ntcp = "{SERVICE}"\n' * 2),
    "no route": ("in no route", CONFIGURATION.replace(RS2, NOWHERE, 1)),
    "too many services": (
        "services are wanted, and the tables hold 2",
        CONFIGURATION + f'\n[[service]]\ntcp = "{VIP}:1"\n',
    ),
    "too many reals": (
        "and the tables hold 5, of all",
        CONFIGURATION.replace(f'"{RS2}"]', f'"{RS2}", "192.168.2.8", "192.168.2.9"]'),
    ),
}


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)], ids=["apply", "dry run"])
@pytest.mark.parametrize("case", FILES)
def test_configurations(lvs, tmp_path, case, dry_run):
    """A file that cannot be applied; a dry run says so too."""
    file = tmp_path / "wrong.toml"
    file.write_text(FILES[case][1])

    refused(lvs, 1, FILES[case][0], XDPLB, "apply", str(file), *dry_run)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.toml", "No such file or directory"),
        ("directory", "Is a directory"),
        ("binary", "it is not text"),
    ],
)
def test_files_that_cannot_be_read(lvs, tmp_path, name, words):
    """What is no file, or not of text."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")

    refused(lvs, 1, words, XDPLB, "apply", str(tmp_path / name))


def test_a_file_that_cannot_be_written(lvs, tmp_path):
    """`save` into a directory that is not there."""
    refused(lvs, 1, "cannot be written", XDPLB, "save", str(tmp_path / "absent" / "file"))


@pytest.mark.parametrize("name", ["/dev/null", "-"])
def test_a_configuration_of_nothing(lvs, name):
    """It would remove all services: it has to be said that this is meant."""
    words = "no service, and would remove 2 services"

    refused(lvs, 1, words, XDPLB, "apply", name, stdin=subprocess.DEVNULL)


def test_no_room_for_a_file(lvs, tmp_path):
    """`save` to a disk that is full: what was there stays, and nothing lies beside it."""
    fill = 'mount -t tmpfs -o size=16k t "$0"; cd "$0"; echo old > file; exec 3>&1 4>&2; '
    fill += 'dd if=/dev/zero of=full bs=4k 2>/dev/null || true; r=0; "$@" >&3 2>&4 || r=$?; '
    fill += '[ "$(cat file)" = old ]; [ "$(ls -A)" = "$(printf "file\nfull")" ]; exit $r'
    save = [XDPLB, "save", "file"]

    refused(lvs, 1, "No space left on device; make room", *IN_PRIVATE, fill, str(tmp_path), *save)


@pytest.mark.parametrize("view", [(), ("--json",), ("--stats",), ("--flows",)], ids="".join)
def test_output_that_cannot_be_written(lvs, view):
    """One line, and no more when the interpreter ends."""
    command = ["sh", "-c", 'exec "$@" >/dev/full', "sh", XDPLB, "list", *view]

    refused(lvs, 1, "standard output cannot be written: No space left on device", *command)


def test_a_real_server_that_is_wrong(lvs):
    """`realserver check` says what, and ends with 1."""
    argv = [XDPLB, "realserver", "check", "--vip", "192.168.2.101"]

    done = labs.run(lvs.name, "rs1", argv, check=False)

    assert (1, "") == (done.returncode, done.stderr)
    assert "WRONG" in done.stdout


def test_full_tables(lvs):
    """The third service, and the sixth real: with the mend that makes room."""
    refused(
        lvs,
        1,
        "3 services are wanted, and the tables hold 2",
        XDPLB,
        "service",
        "add",
        "-t",
        f"{VIP}:1",
    )
    lvs.xdplb("server", "add", *U, "-r", "192.168.2.8")
    _last.clear()
    refused(lvs, 1, "larger --tune max_reals", XDPLB, "server", "add", *U, "-r", "192.168.2.9")
    lvs.xdplb("server", "del", *U, "-r", "192.168.2.8")
    _last.clear()


NOT_ATTACHED = {
    "list": ("list",),
    "status": ("status",),
    "save": ("save",),
    "top": ("top",),
    "zero": ("zero",),
    "flush": ("flush",),
    "set": ("set", "1", "1", "1"),
    "add": ("service", "add", *T),
    "edit": ("server", "edit", *T, "-r", RS1, "-w", "1"),
    "deny": ("deny", "add", "192.0.2.7"),
    "deny list": ("deny", "list"),
}


@pytest.mark.parametrize("case", NOT_ATTACHED)
def test_nothing_is_attached(lvs, case):
    """Commands to an instance that is not there say how it comes to be."""
    words = f"no director is attached as instance '{lvs.name}-none'"

    refused(lvs, 1, words, XDPLB, "--instance", f"{lvs.name}-none", *NOT_ATTACHED[case])


@pytest.mark.parametrize("command", [("list",), ("status",), ("flush",), ("attach", "ens33")])
def test_no_permission(lvs, command):
    """Nobody may look, and nobody may change."""
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")

    refused(lvs, 1, "xdplb needs root", *nobody, XDPLB, *command)


@pytest.mark.parametrize("mode", ["auto", "native", "generic"])
def test_another_program_has_the_interface(lvs, mode):
    """An XDP program that is not ours is not replaced, whatever the mode."""
    words = "interface taken has another XDP program"

    refused(lvs, 1, words, XDPLB, "attach", "taken", "--mode", mode)


def test_another_instance_has_the_interface(lvs):
    """It is named, with the command that frees the interface."""
    other = "other"
    words = "xdplb --instance default detach ens33"

    refused(lvs, 1, words, XDPLB, "--instance", other, "attach", "ens33")


def test_no_native_xdp(lvs):
    """A bridge's driver has none; other interfaces of the same command are left alone too."""
    words = "interface bridge9 takes no XDP program in native mode"
    more = ("--vip", "192.168.2.101", "--mode", "native")

    refused(lvs, 1, words, XDPLB, "attach", "peer", "bridge9", *more)


MOUNTS = {
    "no headers": (
        "no kernel headers are installed",
        [
            *IN_PRIVATE,
            'for d in /usr/src /lib/modules /var/cache; do mount -t tmpfs t $d; done; exec "$@"',
        ],
    ),
    "bpffs is not mounted here": (
        "/sys/fs/bpf is one of a private mount namespace",
        [*IN_PRIVATE, 'umount /sys/fs/bpf; exec "$@"'],
    ),
    "bpffs will vanish": (
        "use nsenter --net=… rather than ip netns exec".removeprefix("use "),
        [*IN_PRIVATE, 'umount /sys/fs/bpf; mount -t bpf bpf /sys/fs/bpf; exec "$@"'],
    ),
    "no bpffs anywhere": (
        "/sys/fs/bpf is not a BPF file system; run: mount -t bpf",
        [
            *(*IN_PRIVATE[:2], "--pid", "--fork", "--mount-proc", "sh", "-ec"),
            'umount /sys/fs/bpf; "$@"',
        ],
    ),
}


@pytest.mark.parametrize("case", MOUNTS)
def test_attach_in_another_mount_namespace(lvs, case):
    """What attach needs is not there, or not for long."""
    words, inside = MOUNTS[case]

    refused(lvs, 1, words, *inside, "sh", XDPLB, "attach", "ens33")


def test_attach_by_ip_netns_exec(lvs):
    """It enters a mount namespace of its own, in which pins die."""
    inside = ("ip", "netns", "exec", f"{lvs.name}-lvs", XDPLB)

    refused(lvs, 1, "rather than ip netns exec", *inside, "attach", "ens33")


@pytest.mark.parametrize("command", [("list",), ("flush",)])
def test_pins_that_are_out_of_sight(lvs, command):
    """Other commands, where bpffs is another one."""
    inside = [*IN_PRIVATE, 'umount /sys/fs/bpf; exec "$@"', "sh", XDPLB]

    refused(lvs, 1, "private mount namespace", *inside, *command)


def test_no_iproute2(lvs, tmp_path):
    """The package that is missing is named."""
    refused(
        lvs, 1, "apt-get install iproute2", XDPLB, "attach", "ens33", env={"PATH": str(tmp_path)}
    )
