# SPDX-License-Identifier: MIT
"""`xdplb bench` against the five hosts."""

import json

import pytest
from fivehosts import RS1, XDPLB

from xdplb.lab import VIP

pytestmark = pytest.mark.root


def test_wrk_reports_requests_latency_and_errors(cluster):
    """Straight to a real: as many requests as were answered, none failed, the reply's bytes."""
    (result,) = json.loads(
        cluster.output(
            "client", XDPLB, "bench", "wrk", f"http://{RS1}/", "--seconds", "1", "--json"
        )
    )

    assert result["requests"] > 100
    assert {0} == set(result["errors"].values())
    assert 0 < result["latency_us"]["p50"] <= result["latency_us"]["max"]
    assert result["observed"]["interfaces"]["ens33"]["packets_sent"] > result["requests"]
    assert result["observed"]["director"] is None


def test_wrk_counts_what_the_director_did(director):
    """A director that is here tells what became of the requests' packets."""
    director.balance("mh")

    (result,) = json.loads(
        director.output(
            "client",
            *(XDPLB, "--instance", director.pins.name, "bench", "wrk", f"http://{VIP}/"),
            *("--seconds", "1", "--short", "--json"),
        )
    )

    assert {"forwarded"} >= set(result["observed"]["director"]) - {"pass_not_ip"}
    assert result["observed"]["director"]["forwarded"] > 3 * result["requests"]
    assert {0} == set(result["errors"].values())


def test_pktgen_says_who_is_next(cluster):
    """By the route, once its MAC is known; a host's own address is refused."""
    cluster.run("client", "ping", "-c1", "192.168.1.1")
    words = ("bench", "pktgen", "ens33", "--seconds", "0.1", "--rate", "10")

    there = cluster.run("client", XDPLB, *words, "--to", f"{VIP}:9", check=False)
    here = cluster.run("client", XDPLB, *words, "--to", "192.168.1.200:9", check=False)

    assert there.returncode == 0 or "this kernel has no pktgen" in there.stderr
    assert (2, 1) == (here.returncode, len(here.stderr.splitlines()))
