# SPDX-License-Identifier: MIT
"""The lab is the reference case, and leaves nothing behind."""

import os
import signal
import socket
import struct
from pathlib import Path

import pytest

from xdplb import lab as labs
from xdplb.director.instance import Instance
from xdplb.errors import AlreadyExists, NotFound, UsageError, XdplbError
from xdplb.host import namespaces
from xdplb.kernel import libbpf
from xdplb.lab import hosts

pytestmark = pytest.mark.root

ADDRESSES = {
    "client": {"ens33": "192.168.1.200/24"},
    "route": {"ens33": "192.168.1.1/24", "ens160": "192.168.2.1/24"},
    "lvs": {"ens33": "192.168.2.200/24"},
    "rs1": {"ens33": "192.168.2.220/24"},
    "rs2": {"ens33": "192.168.2.210/24"},
}
# An XDP program that swaps a frame's MAC addresses and sends it back: opcode, registers (source and
# destination), offset, immediate value.
BOUNCE = b"".join(
    struct.pack("<BBhi", *instruction)
    for instruction in [
        (0x61, 0x12, 0, 0),  # r2 = data
        (0x61, 0x13, 4, 0),  # r3 = data_end
        (0xBF, 0x24, 0, 0),  # r4 = r2
        (0x07, 0x04, 0, 14),  # r4 += 14
        (0x2D, 0x34, 10, 0),  # if r4 > r3 goto pass
        (0x61, 0x25, 0, 0),  # r5, r6 = destination
        (0x69, 0x26, 4, 0),
        (0x61, 0x27, 6, 0),  # r7, r8 = source
        (0x69, 0x28, 10, 0),
        (0x63, 0x72, 0, 0),  # destination = r7, r8
        (0x6B, 0x82, 4, 0),
        (0x63, 0x52, 6, 0),  # source = r5, r6
        (0x6B, 0x62, 10, 0),
        (0xB7, 0x00, 0, 3),  # return XDP_TX
        (0x95, 0x00, 0, 0),
        (0xB7, 0x00, 0, 2),  # pass: return XDP_PASS
        (0x95, 0x00, 0, 0),
    ]
)
PLACES = [*ADDRESSES, "net1", "net2"]


def left_of(name: str) -> list[Path]:
    """Say which of a lab's namespaces and files exist."""
    namespaces = [Path("/run/netns", f"{name}-{place}") for place in PLACES]
    return [path for path in [*namespaces, Path("/run/xdplb/lab", name)] if path.exists()]


def processes_in(name: str, host: str) -> list[int]:
    """Say which processes live in a host's namespace."""
    there = Path("/run/netns", f"{name}-{host}").stat()
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "ns/net").stat().st_ino == there.st_ino:
                found.append(int(process.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def interfaces() -> list[str]:
    """Say which interfaces the machine's own network namespace has."""
    return sorted(link.name for link in Path("/sys/class/net").iterdir())


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that ended and awaits its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("host", ADDRESSES)
def test_hosts_have_the_addresses_of_the_table(lab, host):
    """Each host has the interfaces and addresses of the reference case, and no others."""
    lines = lab.output(host, "ip", "-br", "address", "show", "up").splitlines()

    found = {line.split()[0].partition("@")[0]: line.split()[2] for line in lines}

    assert {"lo": "127.0.0.1/8", **ADDRESSES[host]} == found


def test_hosts_reach_each_other(lab):
    """Every host reaches every address, through `route` where the networks differ."""
    for host in ADDRESSES:
        for addresses in ADDRESSES.values():
            for address in addresses.values():
                lab.run(host, "ping", "-c1", "-W2", address.partition("/")[0])


def test_the_way_between_the_networks_is_the_route_host(lab):
    """A packet from the client to a real server loses one hop of its TTL on the way."""
    answer = lab.output("client", "ping", "-c1", "-W2", "192.168.2.220")

    assert "ttl=63" in answer


def test_frames_that_xdp_sends_arrive(lab):
    """All that an XDP program on the director sends back (XDP_TX) reaches the other hosts."""
    lab.run("rs1", "ping", "-c1", "-W2", "192.168.2.200")  # so that no ARP is in the way
    with namespaces.entered(f"{lab.name}-lvs"):
        program = libbpf.prog_load(BOUNCE, "bounce")
        link = libbpf.link_create(program, socket.if_nametoindex("ens33"), 0)
    before = labs.counters(lab.name, "rs1", "ens33")
    try:
        ping = lab.run("rs1", "ping", "-c500", "-i0.001", "-W1", "192.168.2.200", check=False)
    finally:
        os.close(link)
        os.close(program)

    received = (labs.counters(lab.name, "rs1", "ens33") - before).rx_packets

    assert "500 packets transmitted, 0 received" in ping.stdout  # none is an answer
    assert 500 <= received <= 510  # ARP may ask again meanwhile


@pytest.mark.parametrize(
    ("host", "setting", "value"),
    [
        ("client", "ipv4/ip_forward", "0"),
        ("route", "ipv4/ip_forward", "1"),
        ("lvs", "ipv4/ip_forward", "0"),
        ("rs1", "ipv4/conf/all/rp_filter", "0"),
        ("rs1", "ipv4/conf/default/rp_filter", "0"),
        ("rs1", "ipv4/conf/ens33/rp_filter", "0"),
        ("rs1", "ipv4/conf/all/arp_ignore", "0"),
        ("rs2", "ipv4/conf/all/arp_announce", "0"),
    ],
)
def test_settings_are_stated(lab, host, setting, value):
    """A host's settings do not depend on those of the machine."""
    assert value == lab.output(host, "cat", f"/proc/sys/net/{setting}").strip()


@pytest.mark.parametrize(("host", "address"), [("rs1", "192.168.2.220"), ("rs2", "192.168.2.210")])
def test_web_servers_answer_with_their_names(lab, host, address):
    """`/` is the host's name, over one kept connection as over several."""
    lab.start_web()
    page = f"http://{address}/"

    kept = lab.output("client", "curl", "-sS", page, page)
    closed = lab.output("client", "curl", "-sS", "-H", "Connection: close", page)

    assert f"{host}\n{host}\n" == kept
    assert f"{host}\n" == closed


def test_web_servers_take_uploads(lab, tmp_path):
    """`/upload` takes 20 MB in one POST, and answers when it has them all."""
    lab.start_web()
    body = tmp_path / "body"
    body.write_bytes(os.urandom(20_000_000))
    upload = ["--data-binary", f"@{body}", "-w", "%{size_upload}", "http://192.168.2.220/upload"]

    answer = lab.output("client", "curl", "-sS", *upload)

    assert "rs1\n20000000" == answer


def test_web_servers_give_a_large_page(lab):
    """`/large` is 10 MiB."""
    lab.start_web()
    large = ["-o", "/dev/null", "-w", "%{size_download}", "http://192.168.2.210/large"]

    assert str(10 << 20) == lab.output("client", "curl", "-sS", *large)


def test_nothing_lands_in_the_initial_namespace(lab_name):
    """A lab adds no interface to the machine's own network namespace."""
    before = interfaces()

    labs.up(lab_name)

    assert before == interfaces()


def test_down_leaves_no_namespace_no_process_no_file(lab):
    """What `up` and `start_web` made is gone after `down`."""
    lab.start_web()
    pids = [pid for host in ("rs1", "rs2") for pid in processes_in(lab.name, host)]
    assert 4 == len(pids)  # a master and a worker each

    labs.down(lab.name)

    assert [] == left_of(lab.name)
    assert [] == [pid for pid in pids if is_alive(pid)]


def test_down_forgets_what_was_attached_on_its_hosts(lab):
    """What a director and a real server pinned and wrote goes with the lab."""
    real = Path("/run/netns", f"{lab.name}-rs1").stat().st_ino
    with namespaces.entered(f"{lab.name}-lvs"):
        directors = Instance()
    with namespaces.entered(f"{lab.name}-rs1"):
        cookie = namespaces.cookie()
    left = [
        directors.run / "state.json",
        Path("/run/xdplb/realserver", f"{real}.state"),
        directors.pins / "program",
        Path("/sys/fs/bpf/xdplb-decap", f"{cookie}-ens33", "program"),
    ]
    program = libbpf.prog_load(BOUNCE, "bounce")
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_relative_to("/sys/fs/bpf"):
            libbpf.obj_pin(program, path)
        else:
            path.touch()
    os.close(program)

    labs.down(lab.name)

    assert [] == [path for path in left if path.exists()]


def test_down_twice_is_no_failure(lab):
    """Taking down what is down does nothing."""
    labs.down(lab.name)
    labs.down(lab.name)

    assert [] == left_of(lab.name)


def test_down_spares_a_process_that_is_not_the_labs(lab):
    """A recorded number that now belongs to somebody else's process is left alone."""
    Path("/run/xdplb/lab", lab.name, "nginx-rs1.pid").write_text(str(os.getpid()))
    ended = []
    before = signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    try:
        labs.down(lab.name)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert [] == ended


def test_up_mends_what_a_crash_left(lab):
    """A lab that lacks a namespace and its mark is built anew."""
    lab.start_web()
    Path("/run/xdplb/lab", lab.name, "up").unlink()
    namespaces.remove(f"{lab.name}-lvs")

    labs.up(lab.name)

    lab.run("client", "ping", "-c1", "-W2", "192.168.2.200")


def test_up_mends_a_crash_while_a_namespace_was_made(lab_name):
    """A namespace's file without a namespace behind it is no obstacle."""
    Path("/run/netns").mkdir(exist_ok=True)
    Path("/run/netns", f"{lab_name}-rs1").touch()

    labs.up(lab_name)

    labs.run(lab_name, "client", ["ping", "-c1", "-W2", "192.168.2.220"])


def test_up_is_all_or_nothing(lab_name, monkeypatch):
    """A failure on the way removes what was built before it."""

    def refuse(gateway):
        raise XdplbError("no")

    monkeypatch.setattr(hosts.netlink, "add_default_route", refuse)

    with pytest.raises(XdplbError, match=r"^no$"):
        labs.up(lab_name)

    assert [] == left_of(lab_name)


def test_up_twice_is_refused(lab):
    """A lab that is up is not rebuilt under its user's feet."""
    with pytest.raises(AlreadyExists, match="is up already; take it down with: xdplb lab down"):
        labs.up(lab.name)


def test_two_labs_do_not_meet(lab, lab_name):
    """The same addresses in two labs belong to different hosts."""
    other = f"{lab_name}-b"
    labs.up(other)
    try:
        labs.start_web(other)
        refused = lab.run("client", "curl", "-sS", "http://192.168.2.220/", check=False)
        answered = labs.run(other, "client", ["curl", "-sS", "http://192.168.2.220/"])
    finally:
        labs.down(other)

    assert 7 == refused.returncode  # curl: connection refused
    assert "rs1\n" == answered.stdout


def test_status_tells_what_is_there(lab):
    """`status` lists the five hosts and the web servers that run."""
    lab.start_web()

    hosts = labs.status(lab.name)

    assert list(ADDRESSES) == [host.name for host in hosts if host.exists]
    assert ["rs1", "rs2"] == [host.name for host in hosts if host.web_pid]


@pytest.mark.parametrize(
    ("name", "host", "error", "message"),
    [
        ("absent", "client", NotFound, "lab 'absent' is not up; bring it up with: xdplb lab up"),
        ("absent", "rs3", NotFound, "host 'rs3' is not in the lab; it has: client, route, lvs"),
        ("../etc", "client", UsageError, "lab name '../etc' is not well-formed"),
    ],
)
def test_a_wrong_name_is_told(name, host, error, message):
    """What is not there is named, with what is."""
    with pytest.raises(error, match=message.replace(".", r"\.")):
        labs.command(name, host, ["true"])


def test_a_failing_command_is_told(lab):
    """A command that fails on a host says which, where, and its last line."""
    with pytest.raises(XdplbError, match=r"`lvs# ls /absent` failed with 2: .*No such file"):
        lab.run("lvs", "ls", "/absent")
