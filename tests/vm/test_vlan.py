# SPDX-License-Identifier: MIT
"""VIP and reals in a VLAN, and in a VLAN in a VLAN, tagged on the wire by the kernel's 8021q.

The director is attached to the interface below them. A veth passes a tag beside the frame, as a
driver that strips tags does, or in the frame. The sending end's `tx-vlan-offload` decides this.
"""

import re
import subprocess
from contextlib import ExitStack

import pytest
from dualstack import meanwhile
from fivehosts import XDPLB

from xdplb.director.attach import notes_on_vlans
from xdplb.host import namespaces

pytestmark = pytest.mark.root

PORTS = {"route": "ens160", "lvs": "ens33", "rs1": "ens33", "rs2": "ens33"}
HOSTS = {"route": 1, "lvs": 200, "rs1": 220, "rs2": 210}
NETS = {"10": "10.10.0", "7.10": "10.20.0"}  # by tags, the outermost first, as in devices' names


def lay(port, host):
    """The commands that give a host its VLAN devices."""
    yield f"ip link add link {port} name {port}.7 type vlan proto 802.1ad id 7"
    yield f"ip link set {port}.7 up"
    for tags, net in NETS.items():
        device, below = f"{port}.{tags}", f"{port}.{tags}".rpartition(".")[0]
        yield f"ip link add link {below} name {device} type vlan id 10"
        yield f"ip link set {device} up"
        yield f"ip address add {net}.{HOSTS[host]}/24 dev {device}"
        if host == "lvs":
            yield f"ip address add {net}.100/32 dev {device}"


@pytest.fixture(scope="module")
def tagged(cluster, xdplb):
    """The reference case with VLANs on its second network, each with a VIP."""
    subprocess.run(["modprobe", "8021q"], check=True)
    vips = [word for net in NETS.values() for word in ("--vip", f"{net}.100")]
    with ExitStack() as stack:
        for host, port in PORTS.items():
            does, undoes = (
                "\n".join(lay(port, host)),
                f"ip link del {port}.7; ip link del {port}.10",
            )
            stack.enter_context(meanwhile(cluster, host, does, undoes))
        for host in ("rs1", "rs2"):
            cluster.xdplb("realserver", "setup", *vips, host=host)
            for vip in vips[1::2]:
                teardown = "realserver", "teardown", "--vip", vip
                stack.callback(cluster.run, host, XDPLB, *teardown)
        yield cluster


@pytest.mark.parametrize("tags", NETS)
@pytest.mark.parametrize("offload", ["on", "off"], ids=["stripped", "in the frame"])
def test_requests_are_served_in_their_vlan(tagged, tags, offload):
    """The reals answer by turns, and frames to them have each tag of their VLAN once."""
    net, features = NETS[tags], ("txvlan", "tx-vlan-stag-hw-insert")
    words = [word for feature in features for word in (feature, offload)]
    tagged.run("net2", "ethtool", "-K", "lvs", *words)
    reals = [f"{net}.{HOSTS[host]}" for host in ("rs1", "rs2")]
    tagged.balance("rr", reals, f'tcp = "{net}.100:80"')
    tcpdump = tagged.start("net2", ["tcpdump", "-Z", "root", "-lnnei", "lvs", "-c", "20"])
    while "listening" not in tcpdump.stdout.readline():
        pass

    said = tagged.fetch(4, f"http://{net}.100/")

    tcpdump.terminate()
    seen, _ = tcpdump.communicate()
    tagged.xdplb("flush")
    tunnelled = [line for line in seen.splitlines() if f" {net}.200 > {net}.2" in line]
    assert ["rs2", "rs1", "rs2", "rs1"] == said
    assert tunnelled
    assert {tags} == {".".join(re.findall(r"vlan (\d+)", line)) for line in tunnelled}


def test_stripped_tags_are_told(tagged):
    """If a driver strips tags and there are VLANs, `attach` says the harm and the mend."""
    interfaces = {"ens33": "native"}
    with namespaces.entered(f"{tagged.name}-lvs"):
        [note] = notes_on_vlans(interfaces)
        mend = note.partition("mend it: ")[2].split()
        tagged.run("lvs", *mend)
        after = list(notes_on_vlans(interfaces))
    tagged.run("lvs", "ethtool", "-K", "ens33", "rxvlan", "on")

    assert ["ethtool", "-K", "ens33", "rxvlan", "off"] == mend
    assert [] == after
