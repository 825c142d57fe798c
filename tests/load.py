# SPDX-License-Identifier: MIT
"""Loads for a lab's web servers, by wrk on the client."""

import re
import subprocess
from dataclasses import dataclass

from fivehosts import Lab

from xdplb import lab as labs


@dataclass(frozen=True)
class Load:
    """What a run of wrk reports."""

    requests: int
    errors: str

    @classmethod
    def of(cls, report: str) -> "Load":
        """Read a report; `errors` is empty if there were none."""
        requests = re.search(r"(\d+) requests in", report)
        assert requests, report
        errors = re.findall(r"Socket errors:.*|Non-2xx.*", report)
        return cls(int(requests[1]), " ".join(errors))


def start_wrk(
    lab: Lab, seconds: int, connections: int, *options: str, vip: str = labs.VIP
) -> "subprocess.Popen[str]":
    """Load a VIP from the client. On a busy machine a request may be slow, but must not fail."""
    sizes = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "8s"]
    return lab.start("client", ["wrk", *sizes, *options, f"http://{vip}/"])


def end_wrk(wrk: "subprocess.Popen[str]") -> Load:
    """Wait for its end."""
    return Load.of(wrk.communicate(timeout=120)[0])
