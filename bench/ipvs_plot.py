# SPDX-License-Identifier: MIT
"""Plots of what bench/ipvs.py measured."""

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import drawing
import rig

# Okabe and Ito's palette; hatches differ too.
LOOKS = {
    "ipvs": ("IPVS", "#D55E00", "..", "s"),
    "xdplb": ("xdplb", "#0072B2", "//", "o"),
    "prepend": ("constant header", "#999999", "", "^"),
    "real": ("no director", "#999999", "", "^"),
}
SHOWN = ("rr-udp-1", "mh-udp-1", "rr-tcp-1", "mh-tcp-1", "rr-udp-64k", "rr-udp-new", "rr-tcp-new")


def plot(result: Mapping[str, Any]) -> Iterator[Path]:
    """Draws each part that the results have. Yields: the PNG files; an SVG is beside each."""
    parts = {
        "rows": {"cost": _cost, "flows": _flows},
        "throughput": {"throughput": _throughput},
        "web": {"latency": _latency},
    }
    for key, drawings in parts.items():
        for name, draw in drawings.items() if key in result else ():
            pyplot = drawing.pyplot()
            figure, axis = pyplot.subplots(figsize=(9, 4.2))
            note = draw(axis, result[key])
            axis.grid(axis="y", alpha=0.3)
            axis.set_axisbelow(True)
            axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
            place = rig.RESULTS / f"ipvs_{name}.png"
            drawing.save(figure, place, result["machines"][key], note)
            pyplot.close(figure)
            yield place


def _bars(axis: Any, number: int, of: int, who: str, heights: list[float], **more: Any) -> Any:
    """The bars of one director, beside those of the others."""
    label, colour, hatch, _ = LOOKS[who]
    width = 0.8 / of
    places = [x + (number - (of - 1) / 2) * width for x in range(len(heights))]
    return axis.bar(
        places, heights, width, label=label, color=colour, hatch=hatch, edgecolor="white", **more
    )


def _cost(axis: Any, rows: list[dict[str, Any]]) -> str:
    shown = [row for name in SHOWN for row in rows if row["case"] == name]
    for number, who in enumerate(("ipvs", "xdplb", "prepend")):
        bars = _bars(axis, number, 3, who, [row[f"{who}_insns"] for row in shown])
        axis.bar_label(bars, fmt="{:,.0f}", fontsize=6, padding=1)
    axis.set_xticks(
        range(len(shown)), [f"{row['case']}\n{row['ratio']:.1f} ×" for row in shown], fontsize=8
    )
    axis.set_ylabel("instructions per packet")
    axis.set_title("From the director's door to the real's, 60-byte frames", fontsize=10)
    return "Counted by QEMU (-icount), the rig's own taken off. ×: IPVS ÷ xdplb."


def _flows(axis: Any, rows: list[dict[str, Any]]) -> str:
    of = {"1": 1, "64": 64, "1024": 1024, "8192": 8192, "64k": 65536}
    shown = {of[n]: row for row in rows if (n := row["case"].removeprefix("rr-udp-")) in of}
    flows = sorted(shown)
    for who in ("ipvs", "xdplb", "prepend"):
        label, colour, _, marker = LOOKS[who]
        costs = [shown[n][f"{who}_insns"] for n in flows]
        axis.plot(flows, costs, color=colour, marker=marker, label=label)
    axis.set_xscale("log", base=2)
    axis.set_xticks(flows, [f"{n:,}" for n in flows])
    axis.set_ylim(bottom=0)
    axis.set_xlabel("flows (log)")
    axis.set_ylabel("instructions per packet")
    axis.set_title("Cost against recorded flows: rr, UDP, 2 reals", fontsize=10)
    return "Instructions, not time: what caches do with more flows is not seen here."


def _throughput(axis: Any, rows: list[dict[str, Any]]) -> str:
    for number, who in enumerate(("ipvs", "xdplb")):
        all_rates = [row[f"{who}_kpps"] for row in rows]
        medians = [statistics.median(rates) for rates in all_rates]
        low = [m - min(rates) for m, rates in zip(medians, all_rates, strict=True)]
        high = [max(rates) - m for m, rates in zip(medians, all_rates, strict=True)]
        _bars(axis, number, 2, who, medians, yerr=[low, high], capsize=4)
    axis.set_xticks(range(len(rows)), [row["case"] for row in rows])
    axis.set_ylabel("thousand packets per second")
    axis.set_title("Highest rate with a loss of at most 0.1 % (RFC 2544), one core", fontsize=10)
    pairs = len(rows[0]["ipvs_kpps"])
    return f"Bar: median of {pairs} searches; line: their range. An emulated processor."


def _latency(axis: Any, rows: list[dict[str, Any]]) -> str:
    names = list(rows[0]["latency_us"])
    for row in rows:
        label, colour, _, marker = LOOKS[row["through"]]
        axis.plot(
            names,
            [row["latency_us"][name] / 1000 for name in names],
            color=colour,
            marker=marker,
            linestyle="-" if row["case"] == "kept" else "--",
            label=f"{label}, connections {row['case']}",
        )
    axis.set_yscale("log")
    axis.set_xlabel("percentile")
    axis.set_ylabel("latency, ms (log)")
    axis.set_title("Requests by wrk, all hosts on the same two cores", fontsize=10)
    return "Medians of the rounds. wrk keeps its connections busy: latency under full load."
