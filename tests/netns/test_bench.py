# SPDX-License-Identifier: MIT
"""`xdplb bench` against the five hosts."""

import json
import time
from ipaddress import IPv4Address

import pytest
from fivehosts import RS1, XDPLB

from xdplb import lab as labs
from xdplb.errors import XdplbError
from xdplb.host import namespaces
from xdplb.lab import VIP
from xdplb.traffic import nexthop

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


def test_the_next_hop_is_asked_for_its_mac(lab):
    """One ARP request leaves, of a host that has said nothing yet, and no other packet."""
    lab.run("route", "ping", "-c1", "192.168.2.200")  # its own MACs are settled
    before = labs.counters(lab.name, "client", "ens33")
    [there] = lab.value("route", "ip", "-json", "link", "show", "dev", "ens33")

    with namespaces.entered(f"{lab.name}-client"):
        hop = nexthop.find("ens33", IPv4Address(VIP), None)

    sent = labs.counters(lab.name, "client", "ens33") - before
    assert nexthop.NextHop(there["address"], "192.168.1.1") == hop
    assert (1, 42) == (sent.tx_packets, sent.tx_bytes)


def test_a_next_hop_that_does_not_answer_is_told(cluster):
    """After three seconds, with what to try."""
    start = time.monotonic()

    with (
        namespaces.entered(f"{cluster.name}-client"),
        pytest.raises(XdplbError, match=r"192\.168\.1\.77 does not tell its MAC.*ping -c1") as told,
    ):
        nexthop.find("ens33", IPv4Address("192.168.1.77"), None)

    assert 2.5 < time.monotonic() - start < 10
    assert 1 == told.value.exit_code


@pytest.mark.parametrize(
    ("to", "code", "said"),
    [
        ("192.168.1.200:9", 2, "192.168.1.200 is this host's own address; send from another"),
        ("192.168.1.201:9", 1, "interface ens33 is down; run: ip link set ens33 up"),
    ],
    ids=["its own address", "interface down"],
)
def test_pktgen_refuses_before_it_sends(lab, to, code, said):
    """In one line."""
    if code == 1:
        lab.run("client", "ip", "link", "set", "ens33", "down")

    done = lab.run("client", XDPLB, "bench", "pktgen", "ens33", "--to", to, check=False)

    assert (code, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert said in done.stderr


def test_wrk_draws_a_plot(director, tmp_path):
    """Its path is printed last; JSON on stdout stays JSON, and a pipe sees no progress."""
    director.balance("mh")
    file = tmp_path / "plot.png"
    argv = (XDPLB, "--instance", director.pins.name, "bench", "wrk", f"http://{VIP}/")

    done = director.run("client", *argv, "--seconds", "2", "--plot", str(file), "--json")

    assert 1 == len(json.loads(done.stdout))
    assert f"plot: {file}" == done.stderr.splitlines()[-1]
    assert "\r" not in done.stderr
    assert file.read_bytes().startswith(b"\x89PNG")
