# SPDX-License-Identifier: MIT
"""A packet's cost when several cores work at once on the same tables: JSON and a plot.

Each core has its own process. Its wrapper (wrapper.c) sends through the one program. They share
what a director's cores share: `rr`'s turn, flow buckets, reals. The floor shares nothing: it shows
how much cores slow each other down anyway, by cache, memory, and the core's other thread.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import click
import drawing
import rig
from frames import ACK, SYN, Order, Stream
from rich.progress import track
from rig import Balanced, Director
from stopwatch import BOUNCE, FIRST_TARGET, PREPEND, Wrapper

REALS, FLOWS = 100, 1 << 16
SERVICES = (Balanced(0, "mh", REALS), Balanced(1, "rr", REALS))
CASES = {
    "mh-64k": Stream(Order.RANDOM, FLOWS, ACK, 0),
    "rr-64k": Stream(Order.RANDOM, FLOWS, ACK, 1),
    "rr-syn": Stream(Order.SEQUENTIAL, 0, SYN, 1),
}
ROUNDS, PACKETS = 101, 30_000
WAIT_S = 60


def work(core: int, number: int, fd: int, together: Barrier, said: Connection) -> None:
    """The work of a core's process: all cases, in step with the others. Sends: ns by case."""
    os.sched_setaffinity(0, {core})
    with contextlib.closing(Wrapper(f"idle{number}")) as wrapper:
        wrapper.set_target(FIRST_TARGET, fd)
        found = {}
        for name, stream in CASES.items():
            state = 1 + (number << 28)  # each core has its own new flows
            if stream.flows:
                for flags in (SYN, ACK):
                    whole = replace(stream, order=Order.SEQUENTIAL, flags=flags)
                    wrapper.run(FIRST_TARGET, whole, stream.flows)
            times: dict[int, list[float]] = {BOUNCE: [], PREPEND: [], FIRST_TARGET: []}
            for _ in range(ROUNDS):
                for target, taken in times.items():
                    together.wait(WAIT_S)
                    taken.append(wrapper.run(target, stream, PACKETS, state))
                    state = wrapper.state()
            alone, floor, mine = (statistics.median(taken) for taken in times.values())
            found[name] = {"ns": mine - alone, "floor_ns": floor - alone}
        said.send(found)


def measure(fd: int, cores: list[int]) -> list[dict[str, Any]]:
    """Rows of all cases with these cores at work; each value is the mean over the cores."""
    context = multiprocessing.get_context("fork")
    together = context.Barrier(len(cores))
    ends = [context.Pipe(duplex=False) for _ in cores]
    workers = [
        context.Process(target=work, args=(core, number, fd, together, said))
        for number, (core, (_, said)) in enumerate(zip(cores, ends, strict=True))
    ]
    for worker in workers:
        worker.start()
    try:
        found = []
        for worker, (heard, said) in zip(workers, ends, strict=True):
            said.close()
            try:
                found.append(heard.recv())
            except EOFError:
                worker.join()
                raise click.ClickException(f"a core ended with {worker.exitcode}") from None
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    return [
        {
            "case": name,
            "cores": len(cores),
            **{
                key: round(statistics.mean(each[name][key] for each in found), 2)
                for key in ("ns", "floor_ns")
            },
        }
        for name in CASES
    ]


def plot(result: dict[str, Any]) -> None:
    """Packets per second of all cores together, as multiples of one core's."""
    pyplot = drawing.pyplot()
    figure, axis = pyplot.subplots(figsize=(7, 4))
    most = max(row["cores"] for row in result["rows"])
    styles = {"mh-64k": ("#0072B2", "o"), "rr-64k": ("#D55E00", "s"), "rr-syn": ("#009E73", "^")}
    for name, (colour, marker) in styles.items():
        rows = sorted((r for r in result["rows"] if r["case"] == name), key=lambda r: r["cores"])
        gain = [row["cores"] * rows[0]["ns"] / row["ns"] for row in rows]
        axis.plot([r["cores"] for r in rows], gain, color=colour, marker=marker, label=name)
    of_one = next(row["floor_ns"] for row in result["rows"] if row["cores"] == 1)
    floor = {row["cores"]: row["cores"] * of_one / row["floor_ns"] for row in result["rows"]}
    axis.plot(list(floor), list(floor.values()), color=drawing.GREY, linestyle="--", label="floor")
    axis.set_xticks(range(1, most + 1))
    axis.set_ylim(bottom=0)
    axis.set_xlabel("cores at work")
    axis.set_ylabel("packets per second, × one core's")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    note = "Established TCP of 64 k flows a core; rr-syn: each packet a new flow. 100 reals."
    drawing.save(figure, rig.RESULTS / "cores.png", result["machine"], note)


@click.command()
@click.option("--replot", is_flag=True, help="Draw what the results hold, measure nothing.")
def main(replot: bool) -> None:
    """Measure with one core, two, and so on, into bench/results/cores.json and .png."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = rig.RESULTS / "cores.json"
    if replot:
        plot(json.loads(out.read_text()))
        return
    rig.enter_namespace()
    tree = rig.HERE.parent
    cores = sorted(os.sched_getaffinity(0))
    for number in range(len(cores)):
        subprocess.run(["ip", "link", "add", f"idle{number}", "type", "veth"], check=True)
    rows = []
    with rig.pins("cores") as pins, contextlib.closing(Director(tree, pins, SERVICES)) as director:
        for many in track(range(1, len(cores) + 1), description="cores"):
            rows += measure(director.fd, cores[:many])
    for row in rows:
        costs = f"{row['ns']:7.1f} ns, floor {row['floor_ns']:.1f} ns"
        print(f"{row['case']:8} {row['cores']} cores {costs}")
    result = {"machine": rig.machine(str(tree)), "rows": rows}
    out.write_text(json.dumps(result, indent=1) + "\n")
    plot(result)


if __name__ == "__main__":
    main()
