# SPDX-License-Identifier: MIT
"""A plot of a load: what was sent, what became of it here, and how busy the cores were."""

import os
import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdplb.errors import MissingPart, UsageError, XdplbError
from xdplb.traffic.sampler import Sample, Sampler

ENDINGS = (".png", ".svg")
_CORES = 4  # the busiest, of more
# Okabe and Ito's palette, which colour-blind readers can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY = "#555555"


@dataclass(frozen=True)
class Run:
    """One run of a load, by the name that a plot of several gives it."""

    name: str
    sampler: Sampler


def require(file: Path) -> None:
    """See to it that a plot can be drawn and written, before anything is sent.

    Raises: UsageError for another ending; XdplbError if it cannot be written; MissingPart.
    """
    if file.suffix not in ENDINGS:
        raise UsageError(f"plot '{file}' is neither PNG nor SVG", "end its name in .png or .svg")
    if file.is_dir():
        raise XdplbError(f"plot '{file}' is a directory", "name a file")
    with _beside(file) as new:
        new.open("xb").close()
    try:
        import matplotlib.figure  # noqa: F401 - drawing fails later, if this does
    except ImportError as error:
        raise MissingPart(
            "a plot needs matplotlib, which is not installed",
            "run: apt-get install python3-matplotlib; or leave --plot out",
        ) from error


def draw(file: Path, title: str, runs: Sequence[Run]) -> None:
    """Write the plot, whole or not at all. Raises: XdplbError if it cannot be written."""
    figure = _figure(title, runs)
    with _beside(file) as new:
        figure.savefig(new, format=file.suffix[1:], dpi=150)
        new.replace(file)


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """A new file in the same directory, which is gone afterwards."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        yield new
    except OSError as error:
        raise XdplbError(
            f"plot '{file}' cannot be written: {error.strerror or error}",
            "name a file in a directory that can be written",
        ) from error
    finally:
        new.unlink(missing_ok=True)


def _figure(title: str, runs: Sequence[Run]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    spans = _spans(runs)
    shown = {
        "sent by this host\npackets/s": _rates(spans, [each.sample.sent for each in spans]),
        "director's counters\npackets/s": _rates(
            spans, [each.sample.load.director or {} for each in spans]
        ),
        "cores\n% of time": _cores(spans),
    }
    if not shown["director's counters\npackets/s"]:  # there is none here
        del shown["director's counters\npackets/s"]
    figure = Figure(figsize=(10, 1 + 2.2 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 1, sharex=True)
    for axis, (label, lines) in zip(axes, shown.items(), strict=True):
        for line in lines:
            axis.plot(line.seconds, line.values, line.style, color=line.colour, label=line.name)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(EngFormatter(sep=" "))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1.05))
    axes[-1].set_ylim(0, 105)
    axes[-1].set_xlabel("seconds since the start")
    axes[-1].set_xlim(0, spans[-1].at_s + spans[-1].sample.load.seconds / 2 if spans else None)
    axes[0].set_title(f"{title}, {time.strftime('%Y-%m-%d %H:%M')}", fontsize=10, loc="left")
    if len(runs) > 1:
        _mark(axes, runs)
    figure.supxlabel(_machine(), fontsize=7, color=_GREY, x=0.01, ha="left")
    return figure


def _machine() -> str:
    return f"taken on {platform.node()}, {os.cpu_count()} cores, Linux {platform.release()}"


def _mark(axes: Sequence[Any], runs: Sequence[Run]) -> None:
    """Where each run begins, and its name."""
    for run in runs:
        begin = run.sampler.start - runs[0].sampler.start
        for axis in axes:
            axis.axvline(begin, color=_GREY, linewidth=0.8)
        axes[0].annotate(
            run.name,
            (begin, 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=7,
            rotation=90,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
        )


# Lines


@dataclass(frozen=True)
class _Span:
    """A sample of any run, and its middle in seconds since the start of the first."""

    at_s: float
    sample: Sample


@dataclass(frozen=True)
class _Line:
    name: str
    seconds: list[float]
    values: list[float]
    colour: str
    style: str = "-"


def _spans(runs: Sequence[Run]) -> list[_Span]:
    return [
        _Span(
            run.sampler.start - runs[0].sampler.start + sample.end_s - sample.load.seconds / 2,
            sample,
        )
        for run in runs
        for sample in run.sampler.samples
    ]


def _rates(spans: Sequence[_Span], counts: Sequence[Mapping[str, int]]) -> list[_Line]:
    """A line for each name, the largest first; those beyond what can be told apart are one."""
    totals: Counter[str] = Counter()
    for each in counts:
        totals.update({name: max(0, n) for name, n in each.items()})  # zeroed meanwhile: negative
    names = [name for name, n in totals.most_common() if n]
    groups = [[name] for name in names]
    if len(names) > len(_COLOURS):
        groups = [*groups[: len(_COLOURS) - 1], names[len(_COLOURS) - 1 :]]
    lines = []
    for colour, group in zip(_COLOURS, groups, strict=False):
        values = [
            sum(max(0, each.get(name, 0)) for name in group) / span.sample.load.seconds
            for span, each in zip(spans, counts, strict=True)
        ]
        name = group[0] if len(group) == 1 else f"{len(group)} others"
        lines.append(_Line(name, [span.at_s for span in spans], values, colour))
    return lines


def _cores(spans: Sequence[_Span]) -> list[_Line]:
    """Of each core, or of the busiest, how busy it was and how much of it in softirqs."""
    looks = [span.sample.load.cores for span in spans]
    busy = [sum(look["busy"] for look in core) for core in zip(*looks, strict=True)]
    busiest = sorted(range(len(busy)), key=lambda core: -busy[core])[:_CORES]
    return [
        _Line(
            f"core {core}: {what}",
            [span.at_s for span in spans],
            [look[core][what] for look in looks],
            colour,
            style,
        )
        for core, colour in zip(sorted(busiest), _COLOURS, strict=False)
        for what, style in (("busy", "-"), ("softirq", "--"))
    ]
