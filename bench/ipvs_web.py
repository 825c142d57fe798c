# SPDX-License-Identifier: MIT
"""Requests through IPVS, through xdplb and straight to a real, by wrk. Run in the guest.

The five hosts of the reference case, with tunl0 on the reals. Client, directors, reals and web
servers share the machine's cores, so the director's part of a request's cost is small.
"""

import json
import os
import statistics
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from end_to_end import Attached
from hosts import COMMAND, DIRECTOR, INTERFACE, lab_up
from ipvs_rig import run

from xdplb import lab
from xdplb.director.instance import Instance
from xdplb.host import namespaces
from xdplb.kernel import libbpf
from xdplb.lab import VIP, names
from xdplb.traffic import wrk

RS1, RS2 = "192.168.2.220", "192.168.2.210"
KINDS = ("kept", "short")  # connections for many requests; for one request
CONNECTIONS, SECONDS, ROUNDS = 16, 3, 3
XDP_PASS = bytes.fromhex("b700000002000000 9500000000000000")  # r0 = 2; exit


def set_up(name: str) -> None:
    """Both directors balance the VIP's port 80; the reals unwrap by tunl0."""
    lab.start_web(name)
    for host in ("rs1", "rs2"):
        netns = ["--netns", names.host_namespace(name, host)]
        run(str(COMMAND), "realserver", "setup", *netns, "--vip", VIP, "--decap", "ipip")
    at = ["-t", f"{VIP}:80"]
    director = [str(COMMAND)]
    lab.run(name, DIRECTOR, [*director, "attach", INTERFACE, "--mode", "native", "--vip", VIP])
    lab.run(name, DIRECTOR, [*director, "service", "add", *at, "-s", "rr"])
    lab.run(name, DIRECTOR, ["ipvsadm", "-A", *at, "-s", "rr"])
    for real in (RS1, RS2):
        lab.run(name, DIRECTOR, [*director, "server", "add", *at, "-r", real])
        lab.run(name, DIRECTOR, ["ipvsadm", "-a", *at, "-r", f"{real}:80", "-i"])


def request(name: str, url: str, kind: str) -> wrk.Answered:
    """The result of wrk on the client."""
    with namespaces.entered(names.host_namespace(name, "client")):
        return wrk.run(url, wrk.Load(CONNECTIONS, 1, SECONDS, short=kind == "short"))


def row(kind: str, through: str, found: Sequence[wrk.Answered]) -> dict[str, Any]:
    """A case's row in the results, over all rounds; the latencies are medians."""
    latencies = [each.latency_us for each in found]
    return {
        "case": kind,
        "through": through,
        "per_s": [round(each.rate) for each in found],
        "errors": sum(sum(each.errors.values()) for each in found),
        "latency_us": {n: statistics.median(one[n] for one in latencies) for n in latencies[0]},
    }


def main() -> None:
    """Prints each case as soon as it is known, as a line of JSON."""
    run("modprobe", "ip_vs")
    program = libbpf.prog_load(XDP_PASS)
    with lab_up() as name:
        set_up(name)
        with namespaces.entered(names.host_namespace(name, DIRECTOR)):
            instance = Instance()
        with closing(Attached(instance)) as attached:
            ways = {"real": -1, "ipvs": program, "xdplb": attached.fd}
            for kind in KINDS:
                found: dict[str, list[wrk.Answered]] = {through: [] for through in ways}
                for number in range(ROUNDS):
                    for through in list(ways)[:: -1 if number % 2 else 1]:
                        if through != "real":
                            attached.put(ways[through])
                        url = f"http://{RS1 if through == 'real' else VIP}/"
                        found[through].append(request(name, url, kind))
                for through in ways:
                    print(json.dumps(row(kind, through, found[through])), flush=True)
    os.close(program)


if __name__ == "__main__":
    main()
