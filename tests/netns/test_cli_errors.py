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

from xdplb import lab as labs
from xdplb.host import namespaces, netlink
from xdplb.kernel import libbpf
from xdplb.lab import VIP

pytestmark = pytest.mark.root

SERVICE = f"{VIP}:80"
T, U = ("-t", SERVICE), ("-u", f"{VIP}:53")
NOWHERE = "203.0.113.7"
XDP_PASS = bytes.fromhex("b7000000020000009500000000000000")  # r0 = 2; exit
# What is there: what this file adds fills the tables but for one real of a service.
SIZES = {"max_services": 3, "max_reals": 6, "max_denied": 2}
CONFIGURATION = f"""
deny = ["198.51.100.0/24", "203.0.113.9"]

[[service]]
tcp = "{SERVICE}"
scheduler = "mh"
flags = ["mh-port"]
reals = ["{RS1}", "{RS2} weight=3"]

[[service]]
udp = "{VIP}:53"
scheduler = "rr"
reals = ["{RS1}", "{RS2}"]
"""


@pytest.fixture(scope="module")
def lvs() -> Iterator[Lab]:
    """A director with two services; interfaces that are taken or have no native XDP; no route."""
    with served() as lab:
        lab.attach(**SIZES)
        lab.apply(CONFIGURATION)
        lab.run("lvs", "ip", "route", "add", "unreachable", "203.0.113.0/24")
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
        env={**labs.environment(lab.name, "lvs"), **options.pop("env", {})},
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


SERVICES = {
    "no address": ("VIP '1.2.3' is not an IP address", "service", "add", "-t", "1.2.3:80"),
    "no port": (f"'{VIP}' is not ADDRESS:PORT", "service", "add", "-t", VIP),
    "port out of range": ("port '65536'", "service", "add", "-t", f"{VIP}:65536"),
    "port is no number": ("port 'http'", "service", "add", "-t", f"{VIP}:http"),
    "v4-mapped": ("write it as 1.2.3.4", "service", "add", "-t", "[::ffff:1.2.3.4]:80"),
    "multicast": ("224.0.0.1 is no host's", "service", "add", "-t", "224.0.0.1:80"),
    "twice": (f"tcp/{SERVICE} exists already", "service", "add", *T),
    "no service named": ("no service is named", "service", "add"),
    "two services named": ("-t and -u name two", "service", "add", *T, *U),
    "scheduler": ("unknown scheduler 'lc'", "service", "add", "-t", f"{VIP}:1", "-s", "lc"),
    "flag": ("no flag 'sh-port'", "service", "add", "-t", f"{VIP}:1", "-b", "sh-port"),
    "ops for TCP": ("one_packet is for UDP", "service", "add", "-t", f"{VIP}:1", "-o"),
    "edit of none": ("does not exist", "service", "edit", "-t", f"{VIP}:1", "-s", "rr"),
    "edit of nothing": ("nothing is said to change", "service", "edit", *T),
    "edit to a wrong flag": ("no flag 'mh-port'", "service", "edit", *U, "-b", "mh-port"),
    "limit below 0": ("limit: -1 is out", "service", "add", "-t", f"{VIP}:1", "--limit", "-1"),
    "limit too large": (
        "source_limit: 9999999999",
        "service",
        "edit",
        *T,
        "--source-limit",
        "9" * 10,
    ),
    "limit of words": ("'all' is not a valid integer", "service", "edit", *T, "--limit", "all"),
    "del of none": (f"tcp/{VIP}:1 does not exist", "service", "del", "-t", f"{VIP}:1"),
    "zero of none": (f"tcp/{VIP}:1 does not exist", "zero", "-t", f"{VIP}:1"),
    "list of none": (f"tcp/{VIP}:1 does not exist", "list", "-t", f"{VIP}:1"),
    "flows of none": (f"tcp/{VIP}:1 does not exist", "list", "--flows", "-t", f"{VIP}:1"),
    "rate of none": (f"tcp/{VIP}:1 does not exist", "list", "--rate", "-t", f"{VIP}:1"),
    "top of none": (f"tcp/{VIP}:1 does not exist", "top", "-t", f"{VIP}:1"),
}
REALS = {
    "no address": ("real '1.2.3' is not an IP", "server", "add", *T, "-r", "1.2.3"),
    "no route": (f"real {NOWHERE} is in no route", "server", "add", *T, "-r", NOWHERE),
    "the VIP": (f"real {VIP} is the VIP", "server", "add", *T, "-r", VIP),
    "no IPv6 route": ("2001:db8::9 is in no route", "server", "add", *T, "-r", "2001:db8::9"),
    "no host": ("255.255.255.255 is no host's", "server", "add", *T, "-r", "255.255.255.255"),
    "broadcast": ("192.168.2.255 is no host's", "server", "add", *T, "-r", "192.168.2.255"),
    "twice": (f"real {RS1} is in service", "server", "add", *T, "-r", RS1),
    "another port": (f"{RS1}:81 has another port", "server", "edit", *T, "-r", f"{RS1}:81", "-w1"),
    "no port": ("port ''", "server", "edit", *T, "-r", f"{RS1}:", "-w1"),
    "weight too large": ("'65536'", "server", "add", *T, "-r", "192.168.2.9", "-w", "65536"),
    "weight below zero": ("'-1'", "server", "edit", *T, "-r", RS1, "-w", "-1"),
    "weight of words": ("'ten'", "server", "edit", *T, "-r", RS1, "-w", "ten"),
    "weight without end": ("is not a number", "server", "edit", *T, "-r", RS1, "-w", "9" * 5000),
    "service of none": ("does not exist", "server", "add", "-t", f"{VIP}:1", "-r", RS1),
    "edit of none": ("192.168.2.9 is not in", "server", "edit", *T, "-r", "192.168.2.9", "-w1"),
    "drain of none": ("192.168.2.9 is not in", "server", "drain", *T, "-r", "192.168.2.9"),
    "del of none": ("192.168.2.9 is not in", "server", "del", *T, "-r", "192.168.2.9"),
}
DENY = {
    "no prefix": ("prefix 'lan' is not one", "deny", "add", "lan"),
    "no prefix, of several": ("prefix 'lan' is not one", "deny", "add", "192.0.2.1", "lan"),
    "none": ("Missing argument 'PREFIX", "deny", "add"),
    "too long": ("prefix '192.0.2.0/33' is not one", "deny", "add", "192.0.2.0/33"),
    "host bits": ("bits set beyond its length; write 192.0.2.0/24", "deny", "add", "192.0.2.7/24"),
    "IPv4 in IPv6": ("::/0 takes in IPv4", "deny", "add", "::/0"),
    "twice": ("192.0.2.7/32 is given twice", "deny", "add", "192.0.2.7", "192.0.2.7/32"),
    "there already": ("203.0.113.9/32 is denied already", "deny", "add", "203.0.113.9"),
    "full": ("3 prefixes to deny are more than 2", "deny", "add", "192.0.2.7"),
    "not there": ("203.0.113.0/24 is not denied", "deny", "del", "203.0.113.9", "203.0.113.0/24"),
    "del of no prefix": ("prefix '203.0.113' is not one", "deny", "del", "203.0.113"),
}
USAGE = {
    "unknown command": ("No such command 'frobnicate'", "frobnicate"),
    "unknown subcommand": ("No such command 'frob'", "server", "frob"),
    "unknown option": ("No such option", "list", "--frob"),
    "unexpected argument": ("extra argument", "flush", "all"),
    "missing option": ("Missing option '-r'", "server", "add", *T),
    "missing argument": ("Missing argument 'INTERFACE", "attach"),
    "wrong mode": ("'fast' is not one of", "attach", "ens33", "--mode", "fast"),
    "timeout of words": ("'soon' is not a valid integer", "set", "soon", "1", "1"),
    "timeout too long": ("tcp: 99999 s is out of range", "set", "99999", "0", "0"),
    "interval": ("-n", "top", "-n", "0"),
    "instance": ("instance '../etc' is not a name", "--instance", "../etc", "list"),
}
ATTACH = {
    "unknown interface": ("interface 'nosuch' does not exist", "attach", "nosuch"),
    "unknown among known": ("interface 'nosuch' does not exist", "attach", "ens33", "nosuch"),
    "VIP is no address": ("VIP '1.2.3' is not", "attach", "ens33", "--vip", "1.2.3"),
    "VIP is loopback": ("::1 never leaves a host", "attach", "ens33", "--vip", "::1"),
    "VIP is no host's": ("0.0.0.0 is no host's", "attach", "ens33", "--vip", "0.0.0.0"),
    "unknown size": ("--tune depth=3 is not", "attach", "ens33", "--tune", "depth=3"),
    "size of words": ("--tune max_reals=many", "attach", "ens33", "--tune", "max_reals=many"),
    "size in Thai": ("--tune max_reals=๙", "attach", "ens33", "--tune", "max_reals=๙"),
    "no power of two": ("flow_buckets 1000", "attach", "ens33", "--tune", "flow_buckets=1000"),
    "no prime of IPVS": ("ring_slots 4000", "attach", "ens33", "--tune", "ring_slots=4000"),
    "too large": ("max_reals 70000 is out", "attach", "ens33", "--tune", "max_reals=70000"),
    "too few reals": ("2 reals already", "attach", "ens33", "--tune", "max_reals=3"),
    "too few prefixes": ("2 prefixes to deny", "attach", "ens33", "--tune", "max_denied=1"),
    "no power of two of sources": ("tallies 3", "attach", "ens33", "--tune", "source_tallies=3"),
    "too few services": ("1 services already", "attach", "ens33", "--tune", "max_services=2"),
    "other mode": ("attached in native mode", "attach", "ens33", "--mode", "generic"),
    "detach of none": ("no director is attached to interface 'lo'", "detach", "lo"),
}


# By what is asked for: a service, a real, a prefix to deny, a command, an interface.
REFUSED = {
    f"{kind}: {name}": case
    for kind, cases in {
        "service": SERVICES,
        "real": REALS,
        "deny": DENY,
        "usage": USAGE,
        "attach": ATTACH,
    }.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be(lvs, case):
    """It is refused as a mistake of the user's, in one line, and nothing has changed."""
    words, *command = REFUSED[case]
    refused(lvs, 2, words, XDPLB, *command)


FILES = {
    "no TOML": ("not TOML", "[[service"),
    "unknown key": ("unknown key 'reel'", f'[[service]]\ntcp = "{SERVICE}"\nreel = 1'),
    "unknown table": ("unknown key 'services'", "[services]"),
    "no service": ("it has neither tcp nor udp", "[[service]]"),
    "weight": ("'x' will not do", f'[[service]]\ntcp = "{SERVICE}"\nreals = ["{RS1} weight=x"]'),
    "timeout": ("udp: 0 s is out of range", "[timeouts]\nudp = 0"),
    "host bits": ("write 192.0.2.0/24", "deny = ['192.0.2.7/24']"),
    "too many prefixes": ("3 prefixes to deny", "deny = ['192.0.2.1', '192.0.2.2', '192.0.2.3']"),
    "service twice": ("there are two tables", f'[[service]]\ntcp = "{SERVICE}"\n' * 2),
    "no route": ("in no route", CONFIGURATION.replace(RS2, NOWHERE, 1)),
    "too many services": (
        "2 services already",
        CONFIGURATION + f'\n[[service]]\ntcp = "{VIP}:1"\n',
    ),
    "too many reals": (
        "5 reals already",
        CONFIGURATION.replace(f'"{RS2}"]', f'"{RS2}", "192.168.2.8", "192.168.2.9"]'),
    ),
}


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)], ids=["apply", "dry run"])
@pytest.mark.parametrize("case", FILES)
def test_configurations(lvs, tmp_path, case, dry_run):
    """A file that cannot be applied; a dry run says so too."""
    file = tmp_path / "wrong.toml"
    file.write_text(FILES[case][1])

    refused(lvs, 2, FILES[case][0], XDPLB, "apply", str(file), *dry_run)


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

    refused(lvs, 2, words, XDPLB, "apply", str(tmp_path / name))


def test_a_file_that_cannot_be_written(lvs, tmp_path):
    """`save` into a directory that is not there."""
    refused(lvs, 2, "cannot be written", XDPLB, "save", str(tmp_path / "absent" / "file"))


def test_full_tables(lvs):
    """The third service, and the sixth real: with the mend that makes room."""
    refused(lvs, 2, "there are 2 services already", XDPLB, "service", "add", "-t", f"{VIP}:1")
    lvs.xdplb("server", "add", *U, "-r", "192.168.2.8")
    _last.clear()
    refused(lvs, 2, "larger --tune max_reals", XDPLB, "server", "add", *U, "-r", "192.168.2.9")
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
    other = f"{lvs.name}-other"
    words = f"xdplb --instance {lvs.instance} detach ens33"

    refused(lvs, 1, words, XDPLB, "--instance", other, "attach", "ens33")


def test_no_native_xdp(lvs):
    """A bridge's driver has none; other interfaces of the same command are left alone too."""
    words = "interface bridge9 takes no XDP program in native mode"
    more = ("--vip", "192.168.2.101", "--mode", "native")

    refused(lvs, 1, words, XDPLB, "attach", "peer", "bridge9", *more)


IN_PRIVATE = ["unshare", "--mount", "sh", "-ec"]
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


def test_a_damaged_state(lvs):
    """A state that is no JSON is not overwritten."""
    file = lvs.state / "state.json"
    text = file.read_bytes()
    file.write_bytes(text[:100])
    try:
        for command in (["list"], ["attach", "ens33"], ["flush"]):
            done = lvs.try_xdplb(*command)
            assert 1 == done.returncode
            assert f"xdplb: {file} is damaged" in done.stderr
            assert 1 == done.stderr.count("\n")
        assert text[:100] == file.read_bytes()
    finally:
        file.write_bytes(text)
    assert os.environ.get("XDPLB_INSTANCE", "") != lvs.instance
