# SPDX-License-Identifier: MIT
"""What all commands do alike: an option that is given twice is refused, as ipvsadm does.

click takes the last of `-t A -t B` and says nothing.
"""

from typing import Any

import click

from xdplb.errors import UsageError


class Command(click.Command):
    """A command that takes each option once, unless it is made to be repeated."""

    def make_parser(self, ctx: click.Context) -> Any:
        """One whose parse_args() raises UsageError naming an option that is given twice."""
        return _refusing_repetition(super().make_parser(ctx), ctx)


class Group(click.Group):
    """A group of such commands, whose own options are taken once, too."""

    command_class = Command

    def make_parser(self, ctx: click.Context) -> Any:
        """See Command."""
        return _refusing_repetition(super().make_parser(ctx), ctx)


def _refusing_repetition(parser: Any, ctx: click.Context) -> Any:
    if ctx.resilient_parsing:  # the shell completes a line that is not whole yet
        return parser
    parse = parser.parse_args

    def parse_args(args: list[str]) -> Any:
        found = parse(args)
        _check_repetition(ctx, found[2])
        return found

    parser.parse_args = parse_args
    return parser


def _check_repetition(ctx: click.Context, given: list[click.Parameter]) -> None:
    once = [each for each in given if isinstance(each, click.Option) and not each.multiple]
    for option in once:
        if once.count(option) > 1:
            names = [name for name in (*option.opts, *option.secondary_opts) if name.strip()]
            raise UsageError(
                f"{' or '.join(names)} is given twice", f"give it once; see: {ctx.command_path} -h"
            )
