# SPDX-License-Identifier: MIT
"""set, apply, save."""

import click

from xdplb.cli import files
from xdplb.cli.commands import Command
from xdplb.cli.options import director_of, json_option, number, print_json
from xdplb.director.readings import Readings
from xdplb.errors import UsageError
from xdplb.model import toml_file
from xdplb.model.checks import MAX_TIMEOUT_S

STANDARD = "-"  # a file's name: standard input or output
timeout = number(0, MAX_TIMEOUT_S)


@click.command("set", cls=Command)
@click.argument("tcp", type=timeout)
@click.argument("tcpfin", type=timeout)
@click.argument("udp", type=timeout)
@click.pass_obj
def set_command(instance: str, tcp: int, tcpfin: int, udp: int) -> None:
    """Set the idle timeouts, in seconds (ipvsadm --set).

    TCP is for established connections, TCPFIN for those after FIN or RST. 0 leaves one as it is.
    """
    if not (tcp or tcpfin or udp):
        raise UsageError("0 0 0 changes no timeout", "give the seconds of one at least")
    director_of(instance).set_timeouts(tcp=tcp or None, tcpfin=tcpfin or None, udp=udp or None)


@click.command("apply", cls=Command)
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Say what would change. Change nothing.")
@click.option("--allow-empty", is_flag=True, help="Take a FILE that removes all services.")
@json_option
@click.pass_obj
def apply_command(
    instance: str, file: str, dry_run: bool, allow_empty: bool, as_json: bool
) -> None:
    """Make the configuration what FILE says, in one change.

    FILE is TOML, as `xdplb save` writes it. `-` reads standard input.
    """
    wanted = toml_file.parse(files.read_text(file), file)
    lines = director_of(instance).apply(wanted, dry_run=dry_run, allow_empty=allow_empty)
    if as_json:
        print_json({"dry_run": dry_run, "changes": lines})
    else:
        click.echo("\n".join(lines) if lines else "nothing to change")


@click.command("save", cls=Command)
@click.argument("file", metavar="[FILE]", default=STANDARD)
@click.pass_obj
def save_command(instance: str, file: str) -> None:
    """Print the configuration as TOML, or write it to FILE.

    FILE is replaced whole, or stays as it is. Without FILE, or with `-`, it is printed.
    """
    text = toml_file.dump(Readings(instance).configuration())
    if file == STANDARD:
        click.echo(text, nl=False)
    else:
        files.write_text(file, text)
