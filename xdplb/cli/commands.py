# SPDX-License-Identifier: MIT
"""The class of all commands: an option that is given twice is refused, as by ipvsadm.

click takes the last of `-t A -t B` and says nothing.
"""

import click

from xdplb.errors import UsageError


class Command(click.Command):
    """A command that takes each option once, except options that may be repeated."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises: UsageError naming an option that is given twice."""
        _check_repetition(self, ctx, args)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands. It takes its own options once, too."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises: UsageError naming an option that is given twice."""
        _check_repetition(self, ctx, args)
        return super().parse_args(ctx, args)


def _check_repetition(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    if ctx.resilient_parsing:  # the shell completes an unfinished line
        return
    _, _, given = command.make_parser(ctx).parse_args(args=list(args))
    once = [each for each in given if isinstance(each, click.Option) and not each.multiple]
    for option in once:
        if once.count(option) > 1:
            names = [name for name in (*option.opts, *option.secondary_opts) if name.strip()]
            raise UsageError(
                f"{' or '.join(names)} is given twice", f"give it once; see: {ctx.command_path} -h"
            )
