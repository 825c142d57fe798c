# SPDX-License-Identifier: MIT
"""A line that says how far a command is; on a terminal alone, on stderr."""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click

_CLEAR = "\r\033[K"  # to the line's begin, and erase it

Tell = Callable[[float, Mapping[str, int]], None]


@contextmanager
def progress(total_s: float, what: str = "") -> Iterator[Tell | None]:
    """Give what rewrites the line, None where nobody looks; the line is gone afterwards.

    It takes the seconds since the start, and how many packets each sender has sent.
    """
    if not sys.stderr.isatty():
        yield None
        return

    def tell(elapsed_s: float, sent: Mapping[str, int]) -> None:
        line = f"{what}{elapsed_s:.0f} s of {total_s:g} s"
        if packets := sum(sent.values()):
            line += f", {packets:,} packets, {packets / elapsed_s:,.0f}/s"
        columns = shutil.get_terminal_size().columns - 1
        click.echo(f"{_CLEAR}{line[:columns]}", err=True, nl=False)

    try:
        yield tell
    finally:
        click.echo(_CLEAR, err=True, nl=False)
