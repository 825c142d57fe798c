# SPDX-License-Identifier: MIT
"""The look of all plots, and the caption that says how they were measured."""

from pathlib import Path
from typing import Any

# Okabe and Ito's palette, which colour-blind readers can read; markers and hatches differ too.
STYLES = {"mh": ("#0072B2", "o"), "rr": ("#D55E00", "s"), "bounce": ("#555555", "^")}
HATCHES = {"mh": "//", "rr": "..", "bounce": ""}
GREY = "#555555"


def bar(kind: str) -> tuple[str, str]:
    """Colour and hatch of a kind of packets. IPv6 has a lighter colour of its scheduler."""
    lighter, scheduler = {"mh": "#56B4E9", "rr": "#E69F00"}, kind[:2]
    if kind == "pass":
        return GREY, ""
    if scheduler not in lighter:
        return "#009E73", "xx"
    colour = STYLES[scheduler][0] if kind == scheduler else lighter[scheduler]
    return colour, HATCHES[scheduler]


def pyplot() -> Any:
    """Matplotlib's pyplot, without a display. The same data gives the same file."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "xdplb"
    from matplotlib import pyplot

    return pyplot


def caption(machine: dict[str, Any]) -> str:
    """The machine and commit of the figures."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, "
        f"{machine['date'][:10]}, commit {machine['commit']}."
    )


def save(figure: Any, place: Path, machine: dict[str, Any], note: str) -> None:
    """Writes PNG and SVG beside the results. The caption has the machine, and a note."""
    text = f"{caption(machine)}\n{note}"
    figure.text(0.01, 0.01, text, fontsize=7, color=GREY)
    figure.tight_layout(rect=(0, 0.3 / figure.get_figheight(), 1, 1))
    figure.savefig(place.with_suffix(".png"), dpi=150)
    figure.savefig(place.with_suffix(".svg"), metadata={"Date": None})
