# SPDX-License-Identifier: MIT
"""Somebody else's XDP program on an interface is in the way of that interface, and of nothing else.

It may come after a command was killed, or in the place of ours, on an interface that was made anew.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import killing
import pytest
from fivehosts import Lab, require_root
from whole import check_consistent, differences, picture

from xdplb import lab as labs
from xdplb.errors import KernelRefused
from xdplb.host import interfaces, namespaces
from xdplb.kernel import libbpf, program_cache
from xdplb.lab import VIP

pytestmark = [pytest.mark.root, pytest.mark.slow]

PASS = bytes.fromhex("b700000002000000 9500000000000000")  # r0 = XDP_PASS; exit
VIP2 = "192.168.2.101"


@pytest.fixture
def lvs() -> Iterator[Lab]:
    """Five hosts without servers. The director has a second interface, ens34."""
    require_root()
    lab = Lab(f"t{uuid.uuid4().hex[:8]}")
    labs.up(lab.name)
    make_second(lab)
    yield lab
    labs.down(lab.name)


def make_second(lab: Lab) -> None:
    """Add ens34."""
    lab.run("lvs", "ip", "link", "add", "ens34", "type", "veth", "peer", "name", "peer34")
    for name in ("ens34", "peer34"):
        lab.run("lvs", "ip", "link", "set", name, "up", "addrgenmode", "none")


@contextmanager
def foreign(lab: Lab, *ifnames: str) -> Iterator[list[str]]:
    """Put a program on those of these interfaces that are free. Gives: which they are."""
    with ExitStack() as stack, namespaces.entered(f"{lab.name}-lvs"):
        program = libbpf.prog_load(PASS)
        stack.callback(os.close, program)
        taken = []
        for name in ifnames:
            index = interfaces.ifindex(name)
            try:
                link = libbpf.link_create(program, index, libbpf.XDP_FLAGS_DRV_MODE)
            except KernelRefused:  # ours is there
                continue
            stack.callback(os.close, link)
            taken.append(name)
        yield taken


def works(lab: Lab, taken: list[str]) -> None:
    """All commands work, and attach names the program where it is in the way."""
    lab.xdplb("set", "0", "0", "300")
    lab.xdplb("deny", "add", "198.18.0.0/15")
    lab.xdplb("deny", "del", "198.18.0.0/15")
    lab.xdplb("vip", "add", "--force", "192.168.2.109")
    lab.xdplb("vip", "del", "192.168.2.109")
    for name in ("ens33", "ens34"):
        if name not in taken:
            lab.attach(name)
    for name in taken:
        assert "has another XDP program" in lab.try_xdplb("attach", name).stderr
    lab.xdplb("set", "0", "0", "300")


@pytest.mark.parametrize(
    ("argv", "begun"),
    [
        (("attach", "ens34", "--vip", VIP2), ("ens33",)),
        (("detach", "ens34"), ("ens33", "ens34")),
        (("detach", "ens33"), ("ens33", "ens34")),
    ],
)
def test_after_a_kill(lvs, tmp_path, argv, begun):
    """A command was killed, then the program came: other commands work, and detach cleans up."""
    inside = labs.command(lvs.name, "lvs", [])
    clean = picture(lvs)
    with killing.started(inside, program_cache.DIRECTORY, tmp_path) as killer:
        for name in begun:
            lvs.attach(name)
        effects = killer.run(*argv, before=10_000).effects
        for effect in range(effects // 4, effects, effects // 4):
            for name in begun:
                lvs.attach(name)
            for name in lvs.json("status")["interfaces"].keys() - {*begun}:
                lvs.xdplb("detach", name)
            assert killer.run(*argv, before=effect).killed
            with foreign(lvs, "ens33", "ens34") as taken:
                works(lvs, taken)
            check_consistent(lvs)
    for name in lvs.json("status")["interfaces"]:
        lvs.xdplb("detach", name)
    now = picture(lvs)
    assert not differences({**clean, "wanted": now["wanted"], "files": now["files"]}, now)


def test_on_an_interface_made_anew(lvs):
    """`status` says that the director is not on it; all else goes on, and it can be detached."""
    lvs.attach("ens33")
    lvs.attach("ens34")
    lvs.run("lvs", "ip", "link", "delete", "ens34")
    make_second(lvs)
    with foreign(lvs, "ens34") as taken:
        works(lvs, taken)
        lvs.xdplb("detach", "ens34")
        works(lvs, taken)
    lvs.xdplb("attach", "ens34")
    check_consistent(lvs)
    assert VIP in lvs.xdplb("vip", "list")
