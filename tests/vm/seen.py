# SPDX-License-Identifier: MIT
"""The reference case, seen from the client and at the real servers."""

from dataclasses import dataclass

import wire
from directors import UDP, Ipvs, Xdplb
from fivehosts import Lab

from xdplb.lab import VIP


@dataclass(frozen=True)
class Seen:
    """The results of the reference case with one director."""

    pages: list[str]  # the answers to four requests
    uploaded: str  # the answer to 20 MB, and how many bytes were sent
    frames: wire.Frames


def see(director: Ipvs | Xdplb) -> Seen:
    """Let the client use a director that was just attached."""
    lab = director.lab
    director.add_service()
    pages, uploaded = lab.fetch(4), upload(lab, 20_000_000)
    director.flush()
    director.add_service()
    director.add_service(UDP)
    frames = wire.record(lab)
    director.flush()
    return Seen(pages, uploaded, frames)


def upload(lab: Lab, size: int) -> str:
    """POST this many bytes to the VIP. Returns: who answered, and how many bytes were sent."""
    curl = f"curl -sSf -m 240 --data-binary @- -w '%{{size_upload}}' http://{VIP}/upload"
    return lab.output("client", "sh", "-c", f"head -c {size} /dev/zero | {curl}")
