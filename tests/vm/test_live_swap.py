# SPDX-License-Identifier: MIT
"""Under load, xdplb replaces IPVS, and IPVS replaces xdplb: no request fails."""

import signal
import subprocess
import time
from itertools import pairwise

import pytest
from directors import TCP, Ipvs
from load import Load, end_wrk, start_wrk

pytestmark = pytest.mark.root

LONGER_THAN_THE_TEST_S = 600
STATISTICS_LAG_S = 3  # Linux 6.1's estimation_timer() sums them every two seconds: ip_vs_est.c


@pytest.fixture
def ipvs(cluster, xdplb):
    """IPVS with mh. It accepts TCP in midstream: it has no record of xdplb's connections."""
    sloppy_tcp = "echo {} > /proc/sys/net/ipv4/vs/sloppy_tcp"
    director = Ipvs(cluster)
    # By its address alone, the one client would have one real.
    director.add_service(TCP, ("-s", "mh", "-b", "mh-port"))
    cluster.run("lvs", "sh", "-c", sloppy_tcp.format(1))
    yield director
    cluster.run("lvs", "sh", "-c", sloppy_tcp.format(0))
    director.flush()


def end(wrk: "subprocess.Popen[str]") -> Load:
    """Let wrk end now, and report."""
    wrk.send_signal(signal.SIGINT)
    return end_wrk(wrk)


def test_no_request_fails(cluster, xdplb, ipvs):
    """IPVS → xdplb → IPVS: with each director, old connections continue and new ones begin.

    Some begin with IPVS, live through xdplb's time and continue. Some begin with xdplb.
    """
    loads = {
        "begun with IPVS": start_wrk(cluster, LONGER_THAN_THE_TEST_S, 4),
        "new ones": start_wrk(cluster, LONGER_THAN_THE_TEST_S, 2, "-H", "Connection: close"),
    }
    time.sleep(3)
    seen = [0, ipvs.packets()]

    cluster.balance("mh", more='flags = ["mh-port"]')
    time.sleep(STATISTICS_LAG_S)
    seen.append(ipvs.packets())
    loads["begun with xdplb"] = start_wrk(cluster, LONGER_THAN_THE_TEST_S, 4)
    time.sleep(3)
    forwarded = cluster.counters()["forwarded"]
    seen.append(ipvs.packets())
    xdplb.flush()
    time.sleep(3)
    seen.append(ipvs.packets())

    ended = {name: end(wrk) for name, wrk in loads.items()}
    before, _, during, after = (later - earlier for earlier, later in pairwise(seen))
    print(ended, seen, forwarded)
    assert dict.fromkeys(loads, "") == {name: load.errors for name, load in ended.items()}
    assert during == 0
    assert min(before, forwarded, after, *(load.requests for load in ended.values())) > 50
