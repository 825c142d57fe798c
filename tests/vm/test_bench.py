# SPDX-License-Identifier: MIT
"""`xdplb bench pktgen` with the kernel's pktgen."""

import json

import pytest
from fivehosts import XDPLB

from xdplb import lab as labs

pytestmark = pytest.mark.root

SENT, SECONDS = 200, 2  # a second


def test_pktgen_sends_to_a_next_hop_that_it_finds(cluster, tmp_path):
    """Nobody has pinged the router: it gets what was sent, and a plot shows it."""
    file = tmp_path / "plot.svg"
    words = ["--seconds", str(SECONDS), "--rate", str(SENT), "--plot", str(file), "--json"]
    cluster.run("client", "ip", "neighbour", "flush", "dev", "ens33")
    before = labs.counters(cluster.name, "route", "ens33")

    done = cluster.run("client", XDPLB, "bench", "pktgen", "ens33", "--to", f"{labs.VIP}:9", *words)

    got = labs.counters(cluster.name, "route", "ens33") - before
    [queue] = json.loads(done.stdout)["sent"]
    assert "next hop  192.168.1.1, MAC" in done.stderr
    assert 0 < queue["packets"] <= got.rx_packets
    assert "<!-- queue 0 -->" in file.read_text()
