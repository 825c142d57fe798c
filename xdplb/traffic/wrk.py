# SPDX-License-Identifier: MIT
"""HTTP load by wrk, whose own script (wrk.lua) tells what it found.

wrk sends a connection's next request when the last one is answered. So its latencies are those of a
system under as much load as it takes, and not of one that requests reach at a given rate.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from xdplb.errors import MissingPart, UsageError, XdplbError

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Load:
    """How a URL is loaded. `short`: each request has a connection of its own."""

    connections: int
    threads: int
    seconds: int
    short: bool = False

    def __post_init__(self) -> None:
        if self.connections < self.threads:
            raise UsageError(
                f"{self.threads} threads cannot share {self.connections} connections",
                "give a connection to each thread, or more",
            )


@dataclass(frozen=True)
class Answered:
    """What became of the requests; latencies in µs, by the percentile's name."""

    url: str
    requests: int
    seconds: float
    bytes: int
    errors: Mapping[str, int]
    latency_us: Mapping[str, int]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def check_url(url: str) -> None:
    """Raises: UsageError unless it names a host by http."""
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or half an IPv6 address
        well_formed = False
    if not well_formed:
        raise UsageError(f"'{url}' is not a URL of http", "write it as http://192.0.2.80/")


def command(url: str, load: Load) -> list[str]:
    """How wrk is started. Pure."""
    return [
        "wrk",
        f"-t{load.threads}",
        f"-c{load.connections}",
        f"-d{load.seconds}s",
        "--timeout",
        "8s",
        "-s",
        str(SCRIPT),
        *(["-H", "Connection: close"] if load.short else []),
        url,
    ]


def run(url: str, load: Load) -> Answered:
    """Loads one URL. Raises: UsageError, MissingPart; XdplbError if wrk could not begin."""
    check_url(url)
    if not shutil.which("wrk"):
        raise MissingPart("wrk is not installed", "run: apt-get install wrk")
    done = subprocess.run(command(url, load), capture_output=True, text=True)
    lines = done.stderr.strip().splitlines()
    if done.returncode or not lines or not lines[-1].startswith("{"):
        said = (lines or done.stdout.strip().splitlines() or ["nothing"])[0]
        raise XdplbError(f"wrk cannot load {url}: it said: {said}", "try it: curl " + url)
    return Answered(url, **json.loads(lines[-1]))
