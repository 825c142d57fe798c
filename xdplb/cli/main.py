# SPDX-License-Identifier: MIT
import contextlib
import importlib
import os
import sys
from pathlib import Path

import click

from xdplb import __version__
from xdplb.cli.commands import Group
from xdplb.cli.output import ReaderLeft, checked_output, open_standard_files, print_error
from xdplb.errors import XdplbError

# What `--help` shows: sections of commands, each with the module of this package that has it.
SECTIONS = {
    "Director": {
        "attach": "director",
        "detach": "director",
        "vip": "vips",
        "status": "views",
        "list": "views",
        "top": "views",
    },
    "Services and real servers": {
        "service": "services",
        "server": "services",
        "zero": "services",
        "flush": "services",
    },
    "Configuration": {
        "set": "configuration",
        "deny": "deny",
        "apply": "configuration",
        "save": "configuration",
        "batch": "batch",
    },
    "The other end of the tunnel": {"realserver": "realserver"},
    "To try it and to load it": {"lab": "lab", "bench": "bench"},
}
COMMANDS = {name: module for section in SECTIONS.values() for name, module in section.items()}
DEFECT = Path("/run/xdplb/defect.txt")


class LazyGroup(Group):
    """Imports a command's module only when needed: start-up is half of a command's time."""

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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section for each part; help texts begin in one column."""
        width = max(map(len, COMMANDS))
        for title, names in SECTIONS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                assert command is not None
                rows.append((name.ljust(width), command.get_short_help_str(limit=200)))
            with formatter.section(title):
                formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xdplb")
@click.option(
    "--instance",
    envvar="XDPLB_INSTANCE",
    default="default",
    show_default=True,
    metavar="NAME",
    help="Which director. Each has its own interfaces, services and tables.",
)
@click.pass_context
def cli(ctx: click.Context, instance: str) -> None:
    """A tunnel load balancer in XDP. It does what `ipvsadm -i` does, at a fraction of the cost.

    Tables in the kernel forward the packets. No command has to run for packets to flow.
    """
    ctx.obj = instance


def _line_of(error: click.ClickException) -> str:
    """A message of click, which may have several lines, as one line."""
    message = " ".join(error.format_message().split()).rstrip(".")
    ctx = getattr(error, "ctx", None)
    return f"{message}; see: {ctx.command_path if ctx else 'xdplb'} --help"


def _line_of_defect(error: Exception) -> str:
    """Keeps the traceback in a file, which the next one replaces; or says how to see it."""
    import traceback  # 10 ms, which most commands have no use for

    told = "".join(traceback.format_exception(error))
    if os.environ.get("XDPLB_VERBOSE") == "1":
        print(told, end="", file=sys.stderr)
        where = "the traceback is above"
    else:
        try:
            DEFECT.write_text(told)
            where = f"report it with {DEFECT}, which has the traceback"
        except OSError:
            where = "set XDPLB_VERBOSE=1 to see the traceback, and report it"
    reason = traceback.format_exception_only(error)[-1].strip()
    return f"this is a defect of xdplb: {reason}; {where}"


def main() -> None:
    """Run the command line. Exit code: 0 done, 1 failed, 2 asked wrongly, 130 interrupted."""
    # numpy starts a thread a core for linear algebra, of which there is none here: 60 ms a command.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "_XDPLB_COMPLETE" in os.environ:  # the shell asks how to complete a line
        cli.main(prog_name="xdplb")
    open_standard_files()
    code = _run(sys.argv[1:])
    if code:
        sys.exit(code)


def _run(arguments: list[str]) -> int:
    """Returns: the exit code. Not click's own main(), which hides exit codes and says nothing of
    output that fails.
    """
    try:
        with checked_output(), cli.make_context("xdplb", arguments) as ctx:
            cli.invoke(ctx)
    except ReaderLeft:
        return 141  # as if SIGPIPE had ended us
    except XdplbError as error:
        print_error(str(error))
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        with contextlib.suppress(OSError):
            error.show()
        return error.exit_code
    except click.ClickException as error:
        print_error(_line_of(error))
        return error.exit_code
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        print_error(_line_of_defect(error))
        return 1
    return 0
