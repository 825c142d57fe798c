# SPDX-License-Identifier: MIT
"""Namespaces' inode numbers are given again: what was of a namespace that is gone is nobody's."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from balancer import require_root

from xdplb.errors import XdplbError
from xdplb.host import namespaces
from xdplb.model.address import parse_address
from xdplb.realserver import setup, unwrapper
from xdplb.realserver.host import Host
from xdplb.realserver.setup import Decap

pytestmark = pytest.mark.root

VIP, OTHER_VIP = parse_address("192.168.2.100"), parse_address("192.168.2.101")
STATES = Path("/run/xdplb/realserver")


@contextlib.contextmanager
def namespace() -> Iterator[str]:
    require_root()
    name = f"xdplb-number-{uuid.uuid4().hex[:8]}"
    namespaces.create(name)
    try:
        yield name
    finally:
        namespaces.remove(name)


def state_of(name: str) -> Path:
    return STATES / f"{Path('/run/netns', name).stat().st_ino}.state"


def cookie_of(name: str) -> int:
    with namespaces.entered(name):
        return namespaces.cookie()


def prepare(name: str) -> None:
    """An interface with a way out, and the VIP by hand: what a real server may look like."""
    for command in (
        "link add eth0 type veth peer name peer0",
        "link set peer0 up",
        "link set eth0 up",
        "address add 192.168.2.220/24 dev eth0",
        "route add default via 192.168.2.1",
        f"address add {VIP}/32 dev lo",
    ):
        subprocess.run(["ip", "-n", name, *command.split()], check=True)


def test_a_cookie_is_given_once():
    """One namespace after the other, as their numbers come again: no two have the same cookie."""
    cookies = []
    for _ in range(10):
        with namespace() as name:
            cookies.append(cookie_of(name))
            assert cookies[-1] == cookie_of(name)

    assert len(cookies) == len(set(cookies))


def test_a_real_server_s_record_is_not_inherited():
    """A namespace with the number of a real server's, and its VIP, has nothing set up on it."""
    with namespace() as first:
        prepare(first)
        setup.setup(Host(netns=first), [VIP, OTHER_VIP], decap=Decap.XDP)
        record = state_of(first).read_text()
        state_of(first).unlink()

    with namespace() as second:
        prepare(second)
        state_of(second).write_text(record)  # as if it had the same number
        with namespaces.entered(second):
            assert [] == unwrapper.attached()
        with pytest.raises(XdplbError, match=f"the VIP {VIP} is not set up here; nothing is"):
            setup.teardown(Host(netns=second), [VIP])

        assert f"{VIP}/32" in subprocess.check_output(["ip", "-n", second, "address"], text=True)
        assert not state_of(second).exists()


def test_a_record_is_believed_where_it_was_written():
    """Though nothing of what it tells is there any more: teardown restores what setup changed."""
    with namespace() as name:
        prepare(name)
        ignoring = ["nsenter", f"--net=/run/netns/{name}", "sysctl", "-n"]
        ignoring.append("net.ipv4.conf.all.arp_announce")
        before = subprocess.check_output(ignoring)
        setup.setup(Host(netns=name), [OTHER_VIP], decap=Decap.XDP)
        subprocess.run(["ip", "-n", name, "address", "flush", "dev", "lo"], check=True)
        flush = ["nsenter", f"--net=/run/netns/{name}", "nft", "flush", "ruleset"]
        subprocess.run(flush, check=True)
        assert before != subprocess.check_output(ignoring)

        setup.teardown(Host(netns=name))

        assert before == subprocess.check_output(ignoring)
