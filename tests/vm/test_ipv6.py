# SPDX-License-Identifier: MIT
"""The kernel's own devices unwrap IPv6: ip6tnl0 and sit0, beside tunl0."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from directors import Xdplb
from dualstack import DIP6, RS1_6, RS2_6, VIP6, shell
from fivehosts import RS1, RS2, Lab

from xdplb.lab import VIP

pytestmark = pytest.mark.root

DIP = "192.168.2.200"
SERVICES = {"6": (f'tcp = "[{VIP6}]:80"', f"http://[{VIP6}]/"), "4": (f'tcp = "{VIP}:80"', None)}
REALS = {"6": (RS1_6, RS2_6), "4": (RS1, RS2)}
HOSTS = ("rs1", "rs2")


@pytest.fixture(scope="module")
def dual(cluster: Lab, xdplb: Xdplb) -> Iterator[Lab]:
    """Real servers with a VIP of each family and directors of each family."""
    subprocess.run(["modprobe", "-q", "-a", "ip6_tunnel", "sit"], check=True)
    names = ["--vip", VIP, "--vip", VIP6, "--director", DIP, "--director", DIP6]
    for host in HOSTS:
        cluster.xdplb("realserver", "setup", *names, host=host)
    yield cluster
    for host in HOSTS:
        cluster.xdplb("realserver", "teardown", host=host)
        cluster.xdplb("realserver", "setup", "--vip", VIP, host=host)


def test_the_devices_are_set_up(dual):
    """Each device exists, is up, and passes `check`; ip6tnl0 takes IPv4, too."""
    facts = json.loads(dual.xdplb("realserver", "check", "--json", host="rs1"))

    assert {"tunl0", "ip6tnl0", "sit0", "mode ip6tnl0", "protocol 4", "protocol 41"} <= {
        fact["name"] for fact in facts if fact["ok"]
    }


@pytest.mark.parametrize("outer", ["6", "4"])
@pytest.mark.parametrize("inner", ["6", "4"])
def test_the_kernel_unwraps_each_family_in_each(dual, inner, outer):
    """Each real sends a page, for any family of the VIP and of the real."""
    service, url = SERVICES[inner]
    dual.balance("rr", REALS[outer], service)

    assert {"rs1", "rs2"} == set(dual.fetch(2, url or f"http://{VIP}/"))


def test_strangers_are_not_unwrapped(dual):
    """Our table drops tunnelled packets from anybody but the director, IPv6 as IPv4."""
    dual.balance("rr", (RS1_6,), SERVICES["6"][0])
    shell(
        dual,
        "rs1",
        "nft flush chain inet xdplb_realserver tunnel; nft add rule inet "
        "xdplb_realserver tunnel meta l4proto 41 ip6 saddr != 2001:db8:2::201 counter drop",
    )
    refused = dual.run("client", "curl", "-sS", "-m", "2", SERVICES["6"][1], check=False)
    dual.xdplb("realserver", "setup", "--vip", VIP6, host="rs1")

    assert refused.returncode != 0
    assert ["rs1"] == dual.fetch(1, SERVICES["6"][1])
