# SPDX-License-Identifier: MIT
"""Every mend that check prints is a command that works."""

import os
import sys
from pathlib import Path

import pytest

from xdplb.errors import InterfaceBusy
from xdplb.host import namespaces, netlink
from xdplb.kernel import libbpf
from xdplb.model.address import parse_address
from xdplb.realserver import setup, unwrapper
from xdplb.realserver.script import Fact
from xdplb.realserver.setup import Decap

pytestmark = pytest.mark.root

VIP, VIP6 = parse_address("192.168.2.100"), parse_address("2001:db8:2::100")
DIRECTOR, DIRECTOR6 = parse_address("192.168.2.200"), parse_address("2001:db8:2::200")
ROUNDS = 3  # a fact may hide another one

FIREWALL = "table inet f {{ chain c {{ type filter hook input priority 0; {} }}; }}"
FAULTS = {
    "arp_ignore 0": "echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore",
    "arp_ignore 3 of all": "echo 3 > /proc/sys/net/ipv4/conf/all/arp_ignore",
    "arp_ignore 3 of one": "echo 3 > /proc/sys/net/ipv4/conf/eth0/arp_ignore",
    "arp_announce": "echo 0 > /proc/sys/net/ipv4/conf/all/arp_announce",
    "rp_filter": "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter;"
    "echo 0 > /proc/sys/net/ipv4/conf/eth0/rp_filter",
    "no VIP": f"ip addr del {VIP}/32 dev lo; ip addr del {VIP6}/128 dev lo",
    "lo down": "ip link set lo down",
    "a longer prefix": f"ip addr del {VIP}/32 dev lo; ip addr add {VIP}/24 dev lo",
    "a longer one, too": f"ip addr add {VIP}/24 dev lo",
    "on eth0": f"ip addr add {VIP}/24 dev eth0; ip addr add {VIP6}/64 dev eth0 nodad",
    "on eth0 and peer0": f"ip addr add {VIP}/24 dev eth0; ip addr add {VIP}/25 dev peer0",
    "on eth0 alone": f"ip addr del {VIP6}/128 dev lo; ip addr add {VIP6}/64 dev eth0 nodad",
    "no table": "nft delete table inet xdplb_realserver",
    "a smaller MTU": "ip link set eth0 mtu 1400",
    "a smaller MTU, locked": f"ip route add {DIRECTOR} dev eth0 mtu lock 1300",
    "program gone": "detach",
    "program told otherwise": "tell",
}


@pytest.fixture
def xdplb(tmp_path, monkeypatch):
    """The command on the path, of this tree."""
    command = tmp_path / "xdplb"
    root = Path(__file__).parents[3]
    command.write_text(
        "#!/bin/sh\n"
        f'PYTHONPATH={root} exec {sys.executable} -c "from xdplb.cli import main; main()" "$@"\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.fixture
def dual(real, xdplb):
    """Set up for a VIP of each family from directors of each, unwrapped by XDP."""
    real.run("echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip -6 addr flush dev eth0")
    real.run("ip addr add 2001:db8:2::220/64 dev eth0 nodad")
    setup.setup(real.host, [VIP, VIP6], [DIRECTOR, DIRECTOR6], decap=Decap.XDP)
    assert set() == real.wrong(VIP, VIP6)
    return real


def wrong(real) -> list[Fact]:
    return [fact for fact in setup.check(real.host) if not fact.ok]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_check_prints_mends(dual, fault):
    """Each wrong fact's mend, typed on that host, ends well; in the end all facts are right."""
    with namespaces.entered(dual.name):
        if fault == "detach":
            unwrapper.detach("eth0")
        elif fault == "tell":
            unwrapper.attach("eth0", [VIP], [])
        else:
            dual.run(fault)
    assert wrong(dual)

    for _ in range(ROUNDS):
        for fact in wrong(dual):
            dual.run(fact.mend)

    assert [] == wrong(dual)


@pytest.mark.parametrize("rule", ["policy drop;", "ip protocol 4 drop; meta l4proto 41 drop;"])
def test_a_firewall_is_opened(real, rule):
    """The printed rule lets the directors' tunnels in, and is the first of its chain."""
    real.run("echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
    real.run("ip addr add 2001:db8:2::220/64 dev eth0 nodad")
    real.run(f"nft '{FIREWALL.format(rule)}'")

    def blocked() -> list[str]:
        facts = setup.check(
            real.host, [VIP, VIP6], [DIRECTOR, DIRECTOR6], devices=["eth0"], decap=Decap.IPIP
        )
        return [f.mend for f in facts if f.name.startswith("protocol") and not f.ok]

    assert blocked()
    for mend in blocked():
        real.run(mend)

    assert [] == blocked()


def test_an_interface_that_is_taken_can_be_freed(real):
    """Setup says by which command; after it, setup goes through."""
    program = libbpf.prog_load(bytes.fromhex("b700000002000000 9500000000000000"))
    with namespaces.entered(real.name):
        netlink.attach_xdp("eth0", program)
    os.close(program)
    with pytest.raises(InterfaceBusy, match="another XDP program is on eth0") as busy:
        setup.setup(real.host, [VIP], decap=Decap.XDP)

    real.run(busy.value.mend.removeprefix("take it off: "))
    facts = setup.setup(real.host, [VIP], decap=Decap.XDP)

    assert [] == [fact for fact in facts if not fact.ok]


def test_mend_names_the_whole_setup(dual):
    """With the namespace, the VIPs, the directors, who unwraps: as it is typed here."""
    with namespaces.entered(dual.name):
        unwrapper.detach("eth0")

    wanted = (
        f"xdplb realserver setup --netns {dual.name} --vip {VIP} --vip {VIP6}"
        f" --director {DIRECTOR} --director {DIRECTOR6} --decap xdp"
    )
    assert {wanted} == {fact.mend for fact in wrong(dual)}
