# SPDX-License-Identifier: MIT
"""Jumbo frames end to end: the director's and the real server's programs take several buffers."""

import pytest
from fivehosts import RS1, Lab

from xdplb.lab import VIP

pytestmark = pytest.mark.root

MTU = 9000
SIZE = 100 << 20
HOSTS = ("client", "route", "lvs", "rs1", "rs2", "net1", "net2")
WIDEN = f"""
ip -o link | grep -v LOOPBACK | sed 's/^[0-9]*: //; s/[@:].*//' |
    while read name; do ip link set $name mtu {MTU}; done
"""


@pytest.fixture(scope="module")
def large(cluster: Lab) -> Lab:
    """The reference case on links of 9,000 bytes; rs1 unwraps by XDP."""
    for host in ("rs1", "rs2"):  # whose programs hold their links' MTUs down
        cluster.xdplb("realserver", "teardown", host=host)
    for host in HOSTS:
        cluster.run(host, "sh", "-ec", WIDEN)
    cluster.xdplb("realserver", "setup", "--vip", VIP, "--decap", "xdp", host="rs1")
    return cluster


def upload(lab: Lab, path: str) -> str:
    """Upload a file: what the page said, and how much it took."""
    post = ["curl", "-sSf", "-m", "120", "--data-binary", f"@{path}", f"http://{VIP}/upload"]
    return lab.output("client", *post, "-w", "%{size_upload}")


def test_an_upload_in_jumbo_frames(large, tmp_path):
    """100 MB arrive in segments of nearly 9,000 bytes, in native mode, and nothing else happens."""
    large.attach()
    large.balance("mh", [RS1])
    body = tmp_path / "body"
    body.write_bytes(bytes(SIZE))

    said = upload(large, str(body))

    assert f"rs1\n{SIZE}" == said
    assert "native" == large.json("status")["interfaces"]["ens33"]["mode"]
    [listed] = large.json("list", "--stats")
    stats = listed["reals"][0]["stats"]
    assert {"forwarded": stats["packets"]} == large.counters()
    assert stats["bytes"] / stats["packets"] > 4000  # with what only acknowledges


def test_back_to_small_frames(large):
    """Attached again with a smaller MTU, the services are there, in tables of their own."""
    before = {path.name for path in large.pins.iterdir()}
    large.xdplb("detach", "ens33")
    large.run("lvs", "ip", "link", "set", "ens33", "mtu", "1500")

    large.attach()

    assert ["rs1"] == large.fetch()
    assert before != {path.name for path in large.pins.iterdir()}
