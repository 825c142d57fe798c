# SPDX-License-Identifier: MIT
"""The pinned XDP link, kernel/xdp_link.py: on veth pairs in a namespace of its own."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from balancer import require_root

from xdplb.errors import KernelRefused
from xdplb.host import directories, interfaces, namespaces, xdp_holders
from xdplb.kernel import libbpf, xdp_link
from xdplb.kernel.bpffs import BPFFS

pytestmark = pytest.mark.root

PASS = bytes.fromhex("b700000002000000 9500000000000000")  # r0 = XDP_PASS; exit


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


@pytest.fixture
def pin() -> Iterator[Path]:
    """A path for a pin, in a namespace with interfaces eth0 (native XDP) and bridge0 (generic)."""
    require_root()
    name = f"xdplb-link-{uuid.uuid4().hex[:8]}"
    home = BPFFS / name
    directories.make(home)
    namespaces.create(name)
    try:
        with namespaces.entered(name):
            ip("link add eth0 type veth peer name peer0")
            ip("link add bridge0 type bridge")
            yield home / "link"
    finally:
        namespaces.remove(name)
        for left in home.iterdir():
            left.unlink()
        home.rmdir()


@pytest.fixture
def programs() -> Iterator[tuple[int, int]]:
    """Two programs that pass everything."""
    fds = libbpf.prog_load(PASS), libbpf.prog_load(PASS)
    yield fds
    for fd in fds:
        os.close(fd)


def attach(pin: Path, program: int, ifname: str, mode: str = "auto") -> str:
    return xdp_link.attach(pin, program, interfaces.ifindex(ifname), xdp_link.MODES[mode])


def id_of(program: int) -> int:
    return int(libbpf.prog_info(program).id)


@pytest.mark.parametrize(
    ("ifname", "mode", "reached"),
    [
        ("eth0", "auto", "native"),
        ("eth0", "native", "native"),
        ("eth0", "generic", "generic"),
        ("bridge0", "auto", "generic"),
    ],
)
def test_the_first_mode_that_the_driver_has(pin, programs, ifname, mode, reached):
    """Native where the driver has it, generic where it has not and that may be; and it stays."""
    assert reached == attach(pin, programs[0], ifname, mode)

    assert reached == interfaces.xdp_mode(ifname)
    assert (interfaces.ifindex(ifname), id_of(programs[0])) == xdp_link.info(pin)


def test_a_driver_that_refuses_leaves_nothing(pin, programs):
    """A bridge takes no program in native mode."""
    with pytest.raises(KernelRefused) as refusal:
        attach(pin, programs[0], "bridge0", "native")

    assert refusal.value.errno not in xdp_link.OCCUPIED
    assert not pin.exists()


@pytest.mark.parametrize("mode", ["native", "generic", "auto"])
@pytest.mark.parametrize("others", ["native", "generic"])
def test_an_interface_that_is_taken(pin, programs, mode, others):
    """Another program in whichever mode refuses ours, stays, and the reason is told by errno."""
    theirs = pin.with_name("theirs")
    attach(theirs, programs[1], "eth0", others)

    with pytest.raises(KernelRefused) as refusal:
        attach(pin, programs[0], "eth0", mode)

    assert refusal.value.errno in xdp_link.OCCUPIED
    assert {id_of(programs[1])} == interfaces.xdp_programs("eth0")
    assert not pin.exists()


def test_update_replaces_the_program(pin, programs):
    """The same link runs the other program then."""
    attach(pin, programs[0], "eth0")

    xdp_link.update(pin, programs[1])

    assert {id_of(programs[1])} == interfaces.xdp_programs("eth0")


def test_detach_whoever_holds_the_link(pin, programs):
    """The program is off the interface though another process has the link open; again: nothing."""
    attach(pin, programs[0], "eth0")
    held = libbpf.obj_get(pin)

    xdp_link.detach(pin)

    assert set() == interfaces.xdp_programs("eth0")
    assert xdp_link.info(pin) is None
    os.close(held)
    xdp_link.detach(pin)


def test_the_pin_of_an_interface_that_went_and_came(pin, programs):
    """The old link says interface 0; attach puts a new one in its place."""
    attach(pin, programs[0], "eth0")
    ip("link delete eth0")
    ip("link add eth0 type veth peer name peer0")
    assert xdp_link.info(pin) == (0, id_of(programs[0]))

    attach(pin, programs[1], "eth0")

    assert (interfaces.ifindex("eth0"), id_of(programs[1])) == xdp_link.info(pin)


def test_the_pin_of_an_interface_with_another_name_now(pin, programs):
    """It is taken off that one, as no pin would name it any more."""
    attach(pin, programs[0], "eth0")
    ip("link set eth0 name old0")
    ip("link add eth0 type veth peer name peer1")

    attach(pin, programs[1], "eth0")

    assert set() == interfaces.xdp_programs("old0")
    assert {id_of(programs[1])} == interfaces.xdp_programs("eth0")


@pytest.mark.parametrize("mode", ["xdpgeneric", "xdpdrv"])
def test_how_to_free_what_ip_link_attached(pin, programs, mode):
    """The command takes it off, in whichever mode it runs."""
    libbpf.obj_pin(programs[0], pin.with_name("theirs"))
    ip(f"link set eth0 {mode} pinned {pin.with_name('theirs')}")
    assert {id_of(programs[0])} == interfaces.xdp_programs("eth0")

    command = xdp_holders.how_to_free("eth0")

    subprocess.run(command.split(), check=True)
    assert set() == interfaces.xdp_programs("eth0")


@pytest.mark.parametrize("mode", ["generic", "native"])
def test_how_to_free_what_a_link_holds(pin, programs, mode):
    """The command takes it off, though the link is pinned; not one of another interface."""
    attach(pin.with_name("other"), programs[0], "peer0", mode)
    attach(pin, programs[0], "eth0", mode)

    command = xdp_holders.how_to_free("eth0")

    subprocess.run(command.split(), check=True)
    assert set() == interfaces.xdp_programs("eth0")
    assert {id_of(programs[0])} == interfaces.xdp_programs("peer0")
