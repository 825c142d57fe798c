# SPDX-License-Identifier: MIT
"""Packets per second through an attached director, from a veth's far end and back to it.

    net2:  transmit (live frames) → lvs ══ veth ══ ens33 → director, or bounce
           receive (counts)       ← lvs ══ veth ══ ens33 ←

`xdplb attach` attaches the director in a lab of namespaces. The bounce replaces it in the same
link, and only returns XDP_TX. All runs on one CPU: the sender puts a batch of frames on the veth,
and its softirq takes them to the director and to the receiver. So a rate is the rate of all three
together. The difference of two times per packet is the director's cost above the bounce.
Rates use wall-clock time: other processes on this CPU lower all rates alike.
"""

import contextlib
import ctypes
import json
import os
import random
import signal
import socket
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import drawing
import rig
from frames import ACK, SYN, Order, Stream
from hosts import DIRECTOR, INTERFACE, Shell, configuration, lab_up
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rig import Balanced

from xdplb.director import machine, store
from xdplb.director.instance import Instance
from xdplb.host import namespaces, netlink
from xdplb.kernel import libbpf, loader, program_cache, program_text
from xdplb.kernel.tables import Tables, decode_type
from xdplb.lab import names

REALS = 100
SERVICES = (Balanced(0, "rr", REALS), Balanced(1, "mh", REALS))
BOUNCE = "bounce"
HEADERS = 40  # bytes of struct headers, ends.c
BATCH = 1 << 15  # frames of one test run: some milliseconds, so preparing it costs little


class Ends:
    """The sender and the receiver, at the far end of the director's veth, in its namespace."""

    def __init__(self) -> None:
        names = ("transmit", "receive", "bounce")
        source = program_text.read_source("ends.c", names, directory=rig.HERE)
        self._program = loader.load(program_cache.compiled(source))
        self._counted_fd = self._program.maps["received"]
        self._leaf = decode_type(self._program.tables["received"]["leaf"])
        self._ifindex = socket.if_nametoindex(DIRECTOR)
        self._sent_fd = self._program.maps["sent"]
        self.bounce_fd = self._program.functions["bounce"]
        netlink.attach_xdp(DIRECTOR, self._program.functions["receive"])

    def send(self, frame: bytes, packets: int) -> None:
        """Sends a frame `packets` times."""
        headers = ctypes.create_string_buffer(frame[:HEADERS], HEADERS)
        libbpf.map_update(self._sent_fd, ctypes.c_uint32(0), headers)
        fd = self._program.fd
        libbpf.prog_test_run(fd, frame, ifindex=self._ifindex, repeat=packets, live=True)

    def received(self) -> tuple[int, int]:
        """How many frames came back since the start: plain, wrapped."""
        values = libbpf.read_per_cpu(self._counted_fd, 0, ctypes.sizeof(self._leaf))
        counted = [self._leaf.from_buffer_copy(value) for value in values]
        return sum(c.plain for c in counted), sum(c.wrapped for c in counted)


class Attached:
    """The director that `xdplb attach` left on the interface, and its link."""

    def __init__(self, place: Instance) -> None:
        state = store.read_state(place)
        assert state.attached is not None
        self._link = libbpf.obj_get(place.link(INTERFACE))
        programs = place.layout(state.attached.layout) / state.attached.programs
        self.fd = libbpf.obj_get(programs / machine.MAIN)
        self._tables: Tables = store.open_tables(place, state)

    def put(self, fd: int) -> None:
        """Puts another program, or the director again, in the interface's link."""
        libbpf.link_update(self._link, fd)

    def counted(self) -> dict[str, int]:
        """The counters."""
        return self._tables.counters.sum_cpus(0)

    def close(self) -> None:
        """Puts the director back, and closes all."""
        self.put(self.fd)
        self._tables.close()
        os.close(self._link)
        os.close(self.fd)


@dataclass
class Rates:
    """One case: million packets received per second in each round; packets sent and received."""

    mpps: list[float] = field(default_factory=list)
    sent: int = 0
    received: int = 0

    @property
    def lost(self) -> float:
        """The share of the sent packets that was not received."""
        return 1 - self.received / self.sent


def run(ends: Ends, director: Attached, case: str, frame: bytes, seconds: float) -> Rates:
    """Sends for some seconds. Raises: AssertionError if other packets came back than expected."""
    director.put(ends.bounce_fd if case == BOUNCE else director.fd)
    ends.send(frame, BATCH)
    counted, before, sent = director.counted(), ends.received(), 0
    start = time.perf_counter()
    while (took := time.perf_counter() - start) < seconds:
        ends.send(frame, BATCH)
        sent += BATCH
    plain, wrapped = (now - old for now, old in zip(ends.received(), before, strict=True))
    moved = {k: n - counted[k] for k, n in director.counted().items() if n != counted[k]}
    if case == BOUNCE:
        assert not wrapped and not moved, f"the director was at work: {moved}"
    else:
        assert not plain, f"{plain} packets came back as they were"
        assert moved.get("forwarded", 0) >= 0.999 * sent, f"packets were counted as {moved}"
    return Rates([(plain or wrapped) / took / 1e6], sent, plain or wrapped)


def measure(ends: Ends, director: Attached, rounds: int, seconds: float) -> dict[str, Rates]:
    """All cases in each round, in random order. By case."""
    frames = {s.scheduler: Stream(Order.FIXED, 1, ACK, s.number).frame() for s in SERVICES}
    for service in SERVICES:
        ends.send(Stream(Order.FIXED, 1, SYN, service.number).frame(), 1)
    frames[BOUNCE] = frames[SERVICES[0].scheduler]
    rates = {case: Rates() for case in (BOUNCE, *frames)}
    for _ in track(range(rounds), description="end to end"):
        for case in random.sample(list(frames), len(frames)):
            got = run(ends, director, case, frames[case], seconds)
            rates[case].mpps += got.mpps
            rates[case].sent += got.sent
            rates[case].received += got.received
    return rates


def row(case: str, rates: Rates, bounce: Rates) -> dict[str, Any]:
    """A case's row in the results. Its ratio is the median of the rounds' ratios."""
    mpps = statistics.median(rates.mpps)
    ratios = [mine / other for mine, other in zip(rates.mpps, bounce.mpps, strict=True)]
    extra = [
        1000 / mine - 1000 / other for mine, other in zip(rates.mpps, bounce.mpps, strict=True)
    ]
    return {
        "case": case,
        "mpps": round(mpps, 3),
        "mpps_range": [round(min(rates.mpps), 3), round(max(rates.mpps), 3)],
        "ns_per_packet": round(1000 / mpps, 1),
        "more_than_bounce_ns": round(statistics.median(extra), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "lost": round(rates.lost, 5),
        "rounds": len(rates.mpps),
    }


def new_table(rows: list[dict[str, Any]]) -> Table:
    table = Table("case", "M packets/s", "range", "ns each", "more", "of bounce", "range", "lost")
    for column in table.columns[1:]:
        column.justify = "right"
    for each in rows:
        low, high = each["mpps_range"]
        least, most = each["ratio_range"]
        table.add_row(
            each["case"],
            f"{each['mpps']:.2f}",
            f"{low:.2f} … {high:.2f}",
            f"{each['ns_per_packet']:.0f}",
            f"{each['more_than_bounce_ns']:+.0f}",
            f"{each['ratio']:.1%}",
            f"{least:.1%} … {most:.1%}",
            f"{each['lost']:.2%}",
        )
    return table


def plot(result: dict[str, Any], place: Path) -> None:
    """Draws the rows as PNG and SVG."""
    pyplot = drawing.pyplot()
    rows = result["rows"]
    figure, axis = pyplot.subplots(figsize=(6, 4))
    for x, each in enumerate(rows):
        low, high = each["mpps_range"]
        colour, hatch = drawing.STYLES[each["case"]][0], drawing.HATCHES[each["case"]]
        error = [[each["mpps"] - low], [high - each["mpps"]]]
        axis.bar(x, each["mpps"], 0.6, color=colour, hatch=hatch, edgecolor="white")
        axis.errorbar(x, each["mpps"], error, color="black", capsize=4)
        axis.annotate(
            f"{each['mpps']:.2f} M/s\n{each['ratio']:.0%}",
            (x, each["mpps"] / 2),
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        )
    labels = ["bounce\n(XDP_TX alone)", *(f"director, {each['case']}" for each in rows[1:])]
    axis.set_xticks(range(len(rows)), labels)
    axis.set_ylabel("million packets per second")
    axis.set_title("veth → director → counting real, all on one CPU", fontsize=10)
    axis.set_ylim(bottom=0)
    axis.grid(axis="y", alpha=0.3)
    axis.set_axisbelow(True)
    note = (
        "Bar: median; line: range. %: of bounce, median of rounds. Established TCP, 1 flow, 54 B."
    )
    drawing.save(figure, place, result["machine"], note)


@click.command()
@click.option("--rounds", default=21, show_default=True)
@click.option("--seconds", default=0.25, show_default=True, help="Of one case in one round.")
@click.option("--out", type=Path, default=rig.RESULTS / "end_to_end.json", show_default=True)
@click.option("--program-dir", default=str(rig.HERE.parent), help=rig.PROGRAM_HELP)
@click.option("--replot", is_flag=True, help="Draw what --out holds, measure nothing.")
def main(rounds: int, seconds: float, out: Path, program_dir: str, replot: bool) -> None:
    """Measure packets per second from end to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if replot:
        plot(json.loads(out.read_text()), out)
        return
    machine = rig.machine(program_dir)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with rig.snapshot(program_dir) as tree, lab_up() as name:
        xdplb = Shell(name, tree)
        xdplb("attach", INTERFACE, "--mode", "native")
        xdplb("apply", "-", stdin=configuration(SERVICES))
        far_end = names.host_namespace(name, "net2")
        with (
            namespaces.entered(far_end),
            contextlib.closing(Attached(xdplb.instance)) as director,
        ):
            rates = measure(Ends(), director, rounds, seconds)
    rows = [row(case, of_case, rates[BOUNCE]) for case, of_case in rates.items()]
    Console(width=120).print(new_table(rows))
    result = {"machine": machine, "rows": rows}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    plot(result, out)


if __name__ == "__main__":
    main()
