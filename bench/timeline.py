# SPDX-License-Identifier: MIT
"""A load while an operator works: a real is drained, the program upgraded, the real taken back.

It uses the hosts of the reference case. wrk runs on the client, once with connections that are kept
and once with one for each request. The packets to each real are read from the director's tables,
four times a second.
"""

import json
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import click
import drawing
import rig
from hosts import COMMAND, INTERFACE, Shell, Took, lab_up
from ipvs_rig import run

from xdplb import lab
from xdplb.director import store
from xdplb.director.instance import Instance
from xdplb.host import namespaces
from xdplb.lab import VIP, names
from xdplb.model.service import ServiceKey
from xdplb.realserver import unwrapper
from xdplb.traffic import wrk

REALS = {"rs1": "192.168.2.220", "rs2": "192.168.2.210"}
AT = ("-t", f"{VIP}:80")
RS1 = (*AT, "-r", REALS["rs1"])
EVERY_S = 0.25
SECONDS = 40
EVENTS = (  # when, what the plot says, and what is typed
    (6, "rs1 drained", ("server", "drain", *RS1)),
    (14, "program upgraded", ("attach", INTERFACE)),
    (30, "rs1 back", ("server", "edit", *RS1, "-w", "1")),
)
LOADS = {
    "kept": wrk.Load(16, 1, SECONDS - 1),
    "short": wrk.Load(4, 1, SECONDS - 1, short=True),
}
STYLES = {"rs1": ("#D55E00", "-"), "rs2": ("#0072B2", "--")}


def set_up(name: str, shell: Shell) -> None:
    """One service with both reals, chosen by the client's port, as there is only one client."""
    lab.start_web(name)
    for host in REALS:
        netns = names.host_namespace(name, host)
        run(str(COMMAND), "realserver", "setup", "--netns", netns, "--vip", VIP)
    shell("attach", INTERFACE, "--vip", VIP)
    shell("service", "add", *AT, "-s", "mh", "-b", "mh-port")
    for real in REALS.values():
        shell("server", "add", *AT, "-r", real)


class Watch:
    """Reads what was sent to each real."""

    def __init__(self, there: Instance) -> None:
        state, key = store.read_state(there), ServiceKey.parse(f"tcp/{VIP}:80")
        addresses = state.wanted.services.addresses(key)
        places = dict(zip(addresses, state.allocated.indices(key), strict=True))
        self._places = {host: places[address] for host, address in REALS.items()}
        self.tables = store.open_tables(there, state)

    def read(self) -> dict[str, dict[str, int]]:
        """Packets, bytes and flows since the start, by host."""
        stats = self.tables.real_stats
        return {host: stats.sum_cpus(index) for host, index in self._places.items()}


def measure(name: str, shell: Shell) -> dict[str, Any]:
    """Loads, acts and watches. Rates are of the time between two looks."""
    watch = Watch(shell.instance)
    rows, done, events = [], [], list(EVENTS)
    with namespaces.entered(names.host_namespace(name, "client")), ThreadPoolExecutor() as pool:
        loads = {kind: pool.submit(wrk.run, f"http://{VIP}/", load) for kind, load in LOADS.items()}
        commands: list[Future[Took]] = []
        start = last = time.monotonic()
        before = watch.read()
        while (now := time.monotonic()) - start < SECONDS:
            if events and now - start >= events[0][0]:
                at, what, words = events.pop(0)
                commands.append(pool.submit(shell, *words))
                done.append({"s": at, "what": what, "command": f"xdplb {' '.join(words)}"})
            time.sleep(EVERY_S)
            now, counted = time.monotonic(), watch.read()
            rates = {
                f"{host}_{what}": round((counted[host][of] - before[host][of]) / (now - last))
                for host in REALS
                for what, of in (("pps", "packets"), ("connections", "flows"))
            }
            rows.append({"s": round((now + last) / 2 - start, 2), **rates})
            last, before = now, counted
        for event, command in zip(done, commands, strict=True):
            event["took_s"] = round(command.result().wall / 1000, 2)
        answered = {kind: load.result() for kind, load in loads.items()}
    watch.tables.close()
    return {
        "rows": rows,
        "events": done,
        "loads": {
            kind: {"requests": each.requests, "errors": sum(each.errors.values())}
            for kind, each in answered.items()
        },
    }


def plot(result: dict[str, Any]) -> None:
    """Plots packets and new connections of each real over time, and the commands."""
    pyplot = drawing.pyplot()
    figure, axes = pyplot.subplots(2, 1, figsize=(9, 5), sharex=True)
    seconds = [row["s"] for row in result["rows"]]
    for axis, what, label in zip(
        axes,
        ("pps", "connections"),
        ("packets per second", "new connections per second"),
        strict=True,
    ):
        for host, (colour, line) in STYLES.items():
            values = [row[f"{host}_{what}"] for row in result["rows"]]
            axis.plot(seconds, values, color=colour, linestyle=line, label=f"to {host}")
        for event in result["events"]:
            axis.axvline(event["s"], color=drawing.GREY, linewidth=0.8)
            axis.axvspan(event["s"], event["s"] + event["took_s"], color=drawing.GREY, alpha=0.15)
        axis.set_ylim(bottom=0)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    top = axes[0].get_ylim()[1]
    for event in result["events"]:
        axes[0].text(event["s"] + 0.2, 0.04 * top, event["what"], fontsize=8)
    axes[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes[1].set_xlabel("seconds")
    axes[0].set_title(headline(result["loads"]), fontsize=10)
    note = "wrk through the director: connections kept, and one a request. Grey: a command runs."
    drawing.save(figure, rig.RESULTS / "timeline.png", result["machine"], note)


def headline(loads: dict[str, dict[str, int]]) -> str:
    """The plot's title: the number of requests, and of failed ones."""
    requests = sum(load["requests"] for load in loads.values())
    errors = sum(load["errors"] for load in loads.values())
    return f"{requests:,} requests while the operator is at work, {errors} failed"


def unwraps(hosts: Sequence[str], name: str) -> bool:
    """Whether the reals unwrap by XDP, as on kernels without ipip."""
    with namespaces.entered(names.host_namespace(name, hosts[0])):
        return bool(unwrapper.attached())


@click.command()
@click.option("--replot", is_flag=True, help="Draw what the results hold, measure nothing.")
def main(replot: bool) -> None:
    """Half a minute of load, into bench/results/timeline.json and .png."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = rig.RESULTS / "timeline.json"
    if replot:
        result = json.loads(out.read_text())
    else:
        with rig.snapshot(str(rig.HERE.parent)) as tree, lab_up() as name:
            shell = Shell(name, tree)
            set_up(name, shell)
            tunnel = "bpf/decap.c" if unwraps(list(REALS), name) else "tunl0"
            result = {"machine": rig.machine(str(rig.HERE.parent)), "reals": tunnel}
            result |= measure(name, shell)
        out.write_text(json.dumps(result, indent=1) + "\n")
    plot(result)
    click.echo(headline(result["loads"]))


if __name__ == "__main__":
    main()
