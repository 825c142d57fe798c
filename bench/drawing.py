# SPDX-License-Identifier: MIT
"""How all plots look, and what they say of where they come from."""

from pathlib import Path
from typing import Any

# Okabe and Ito's palette: told apart by colour-blind readers; markers and hatches differ too.
STYLES = {"mh": ("#0072B2", "o"), "rr": ("#D55E00", "s"), "bounce": ("#555555", "^")}
HATCHES = {"mh": "//", "rr": "..", "bounce": ""}
GREY = "#555555"


def bar(kind: str) -> tuple[str, str]:
    """Colour and hatch of a kind of packets; of IPv6 a lighter one of its scheduler."""
    lighter, scheduler = {"mh": "#56B4E9", "rr": "#E69F00"}, kind[:2]
    if kind == "pass":
        return GREY, ""
    if scheduler not in lighter:
        return "#009E73", "xx"
    colour = STYLES[scheduler][0] if kind == scheduler else lighter[scheduler]
    return colour, HATCHES[scheduler]


def pyplot() -> Any:
    """matplotlib's, without a display; files come out the same each time."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "xdplb"
    from matplotlib import pyplot

    return pyplot


def caption(machine: dict[str, Any]) -> str:
    """Where the figures were taken."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, "
        f"{machine['date'][:10]}, commit {machine['commit']}."
    )


def save(figure: Any, place: Path, machine: dict[str, Any], note: str) -> None:
    """Writes PNG and SVG beside the results, with a caption: the machine, and a note of two."""
    text = f"{caption(machine)}\n{note}"
    figure.text(0.01, 0.01, text, fontsize=7, color=GREY)
    figure.tight_layout(rect=(0, 0.3 / figure.get_figheight(), 1, 1))
    figure.savefig(place.with_suffix(".png"), dpi=150)
    figure.savefig(place.with_suffix(".svg"), metadata={"Date": None})
