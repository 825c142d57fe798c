# SPDX-License-Identifier: MIT
"""Reals that are reached by GRE and GUE, end to end: XDP on the real unwraps."""

import pytest
from fivehosts import RS1

from xdplb.lab import VIP

pytestmark = pytest.mark.root

SERVICE = ("-t", f"{VIP}:80")
REAL = ("-r", RS1)


@pytest.fixture
def unwrapping(director):
    """The reference case, rs1 unwrapping by XDP, as it does not everywhere."""
    director.xdplb("realserver", "setup", "--vip", VIP, "--decap", "xdp", host="rs1")
    director.balance(reals=[])
    yield director
    director.xdplb("realserver", "teardown", host="rs1")
    director.xdplb("realserver", "setup", "--vip", VIP, host="rs1")


@pytest.mark.parametrize(
    "options",
    [
        ["--tun-type", "gre"],
        ["--tun-type", "gre", "--tun-csum"],
        ["--tun-type", "gue", "--tun-port", "6080"],
        ["--tun-type", "gue", "--tun-csum"],
    ],
    ids=" ".join,
)
def test_page_and_upload(unwrapping, options, tmp_path):
    """A page comes, and an upload of 1 MB arrives: of segments too large ICMP tells."""
    body = tmp_path / "body"
    body.write_bytes(bytes(1_000_000))
    post = ["curl", "-sSf", "-m", "30", "--data-binary", f"@{body}", f"http://{VIP}/upload"]

    unwrapping.xdplb("server", "add", *SERVICE, *REAL, *options)

    page = unwrapping.fetch()
    answer = unwrapping.output("client", *post, "-w", "%{size_upload}")
    unwrapping.run("client", "ip", "route", "flush", "cache")
    assert (["rs1"], "rs1\n1000000") == (page, answer)


def test_a_tunnel_is_changed_in_place(unwrapping):
    """`server edit` and `list`: the tunnel is changed, and the weight stays."""
    unwrapping.xdplb("server", "add", *SERVICE, *REAL, "-w", "7")

    unwrapping.xdplb("server", "edit", *SERVICE, *REAL, "--tun-type", "gue")

    [service] = unwrapping.json("list")
    real = {"address": RS1, "weight": 7, "effective_weight": 7, "tunnel": "gue:6080"}
    assert [real] == service["reals"]
    assert ["rs1"] == unwrapping.fetch()
