# SPDX-License-Identifier: MIT
"""The reference case's five hosts as network namespaces on this machine, to try and to test with.

    client ── net1 ── route ── net2 ─┬─ lvs
                                     ├─ rs1
                                     └─ rs2

A namespace's name is the lab's, a dash, and the host's or network's: `xdplb-lvs`, `xdplb-net2`.
Nothing lands in the machine's own namespace: the networks' bridges have namespaces of their own.
"""

from xdplb.lab.hosts import HostStatus, command, counters, down, exec_, run, status, up
from xdplb.lab.names import DEFAULT_NAME
from xdplb.lab.topology import HOSTS, NETWORKS, VIP, Host, Interface
from xdplb.lab.web import start_web

__all__ = [
    "DEFAULT_NAME",
    "HOSTS",
    "NETWORKS",
    "VIP",
    "Host",
    "HostStatus",
    "Interface",
    "command",
    "counters",
    "down",
    "exec_",
    "run",
    "start_web",
    "status",
    "up",
]
