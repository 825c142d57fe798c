# SPDX-License-Identifier: MIT
"""The class of all commands: an option that is given twice is refused, as by ipvsadm.

click takes the last of `-t A -t B` and says nothing.
"""

from typing import Any

import click

from xdplb.errors import UsageError


class _Once:
    """Refuses an option that is given twice, unless it is made to be repeated."""

    def make_parser(self, ctx: click.Context) -> Any:
        """A parser that raises UsageError naming the option."""
        parser = super().make_parser(ctx)  # type: ignore[misc]
        parse = parser.parse_args

        def checked(args: list[str]) -> Any:
            values, rest, given = parse(args=args)
            if not ctx.resilient_parsing:  # else the shell completes a line that is not whole yet
                _check_repetition(ctx, given)
            return values, rest, given

        parser.parse_args = checked
        return parser


class Command(_Once, click.Command):
    """A command that takes each option once."""


class Group(_Once, click.Group):
    """A group of such commands, whose own options are taken once, too."""

    command_class = Command


def _check_repetition(ctx: click.Context, given: list[click.Parameter]) -> None:
    once = [each for each in given if isinstance(each, click.Option) and not each.multiple]
    for option in once:
        if once.count(option) > 1:
            names = [name for name in (*option.opts, *option.secondary_opts) if name.strip()]
            raise UsageError(
                f"{' or '.join(names)} is given twice", f"give it once; see: {ctx.command_path} -h"
            )
