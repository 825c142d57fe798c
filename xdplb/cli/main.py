# SPDX-License-Identifier: MIT
import importlib
import os
import sys

import click

from xdplb import __version__
from xdplb.errors import XdplbError

# Name → module of this package that has it, in the order of `--help`.
COMMANDS = {
    "attach": "director",
    "detach": "director",
    "status": "views",
    "list": "views",
    "top": "views",
    "service": "services",
    "server": "services",
    "zero": "services",
    "flush": "services",
    "set": "services",
    "deny": "deny",
    "apply": "services",
    "save": "services",
    "realserver": "realserver",
    "lab": "lab",
    "bench": "bench",
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for: start-up is half of a command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, the director's life first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"xdplb.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xdplb")
@click.option(
    "--instance",
    envvar="XDPLB_INSTANCE",
    default="default",
    show_default=True,
    help="Which director: each has its own interfaces, services and maps.",
)
@click.pass_context
def cli(ctx: click.Context, instance: str) -> None:
    """A tunnel load balancer in XDP: does what `ipvsadm -i` does, at a fraction of the cost.

    The maps forward: no command has to run for packets to flow.
    """
    ctx.obj = instance


def _line_of(error: click.ClickException) -> str:
    """What click says in several lines."""
    message = " ".join(error.format_message().split()).rstrip(".")
    ctx = getattr(error, "ctx", None)
    return f"{message}; see: {ctx.command_path if ctx else 'xdplb'} --help"


def main() -> None:
    """Run the command line. Exit code: 0 done, 1 failed, 2 asked wrongly."""
    # numpy starts a thread a core for linear algebra, of which there is none here: 60 ms a command.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        cli.main(standalone_mode=False)
    except XdplbError as error:
        click.echo(f"xdplb: {error}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"xdplb: {_line_of(error)}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left, as `| head` does: no news
        sys.exit(141)
