# SPDX-License-Identifier: MIT
"""The shell script that sets up a real server, and its reports."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from xdplb.errors import MissingPart, NoPermission, XdplbError
from xdplb.host import namespaces
from xdplb.model.address import Address, Prefix, parse_address, parse_senders
from xdplb.realserver.host import Host

PARTS = tuple(Path(__file__).parent / "sh" / name for name in ("state.sh", "setup.sh", "check.sh"))
SSH_FAILED = 255  # exit code of ssh's own failures; the script never ends with it
WRONG, REFUSED = 1, 2  # the script's exit codes: a fact is wrong; it could not be done
# --persist copies the script to the host's disk, so the script has to be a file there.
AS_FILE = 'file=$(mktemp); cat >"$file"; sh "$file" "$@"; end=$?; rm -f "$file"; exit $end'


# What root does here, or reads, that nobody else may.
ROOTS = {
    "setup": "changes this host's network settings",
    "check": "reads the firewall's rules, and what setup wrote down",
    "teardown": "changes this host's network settings",
}
SETUP = "xdplb realserver setup"


@dataclass(frozen=True)
class Fact:
    """A fact that must hold on a real server. `mend` is the command that makes it hold, there.

    Words in capitals stand for what only a person can know.
    """

    name: str
    wanted: str
    found: str
    ok: bool
    mend: str = ""


@dataclass(frozen=True)
class Report:
    """The script's report: the facts of `check`, and what is set up."""

    facts: tuple[Fact, ...] = ()
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def vips(self) -> list[Address]:
        """The VIPs that it has."""
        return [parse_address(text) for text in self.settings.get("vip", ())]

    @property
    def directors(self) -> list[Address | Prefix]:
        """The directors whose tunnels it accepts; none: anybody's."""
        return [parse_senders(text, "director") for text in self.settings.get("director", ())]

    @property
    def setup(self) -> str:
        """The command that sets up all of it."""
        return " ".join(self.settings.get("setup", ()))


def script() -> str:
    """The shell script: `sh realserver.sh setup|check|teardown --vip ADDR …`."""
    first, *others = (part.read_text() for part in PARTS)
    return "".join([first, *("\n" + text.partition("\n")[2].lstrip("\n") for text in others)])


def run(host: Host, verb: str, arguments: Sequence[str], *, persist: bool = False) -> Report:
    """Run the script's verb on a host. Raises: NoPermission, MissingPart, XdplbError."""
    if host.ssh is None and os.geteuid() != 0:
        raise NoPermission(f"realserver {verb} {ROOTS[verb]}", "run it as root")
    shell = ["sh", "-c", AS_FILE, "sh"] if persist else ["sh", "-s"]
    command = host.command([*shell, verb, *arguments])
    environment = os.environ | {"XDPLB_BOOT_COMMAND": _boot_command()}
    if host.ssh is None:  # on another host the script does without
        with host.entered():
            environment["XDPLB_NETNS_COOKIE"] = str(namespaces.cookie())
    try:
        done = subprocess.run(
            command, input=script(), capture_output=True, text=True, env=environment, check=False
        )
    except FileNotFoundError as error:
        raise MissingPart(
            f"there is no {command[0]} command", "run: apt-get install util-linux openssh-client"
        ) from error
    report = _reachable(host, _parse(done.stdout))
    if done.returncode == 0 or (
        verb == "check" and done.returncode == WRONG and "decap" in report.settings
    ):
        return report
    raise _failure(host, done)


def _parse(output: str) -> Report:
    facts: list[Fact] = []
    settings: dict[str, tuple[str, ...]] = {}
    for line in output.splitlines():
        name, *values = line.split("\t")
        if name.startswith("#"):
            settings[name[1:]] = tuple(values[0].split())
        else:
            wanted, found, ok, mend = values
            facts.append(Fact(name, wanted, found, ok == "1", mend))
    return Report(tuple(facts), settings)


def _reachable(host: Host, report: Report) -> Report:
    """With mends by setup as they are typed here; `--decap xdp` is typed on the host itself."""
    facts = (replace(fact, mend=_setup_from_here(host, fact.mend)) for fact in report.facts)
    settings = dict(report.settings)
    if report.setup:
        settings["setup"] = tuple(_setup_from_here(host, report.setup).split())
    return Report(tuple(facts), settings)


def _setup_from_here(host: Host, text: str) -> str:
    if host.ssh is not None and "--decap xdp" in text:
        return text
    return text.replace(SETUP, " ".join([SETUP, *host.options]), 1)


def _failure(host: Host, done: "subprocess.CompletedProcess[str]") -> XdplbError:
    said = [line for line in done.stderr.splitlines() if line.strip()]
    last = said[-1].strip() if said else f"exit status {done.returncode}"
    if host.ssh is not None and done.returncode == SSH_FAILED:
        return XdplbError(f"cannot reach {host.ssh} by ssh: {last}", f"try: ssh {host.ssh} true")
    where = f"{host.ssh}: " if host.ssh is not None else ""
    if done.returncode == REFUSED and last.startswith("error: "):
        what, _, mend = _setup_from_here(host, last).removeprefix("error: ").partition("; ")
        return XdplbError(where + what, mend)
    return XdplbError(
        f"{where}the real server's script failed: {last}",
        "see it line by line: xdplb realserver script | sh -x -s check --vip ADDRESS",
    )


def _boot_command() -> str:
    """The command of the systemd unit that sets up XDP unwrapping at boot."""
    beside = Path(sys.executable).with_name("xdplb")
    xdplb = str(beside) if beside.exists() else shutil.which("xdplb")
    return f"{xdplb} realserver" if xdplb else ""
