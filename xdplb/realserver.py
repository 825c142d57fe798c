# SPDX-License-Identifier: MIT
"""Real servers: set up, checked and torn down by one shell script, wherever they are.

The script (realserver_sh/) is all that a host needs: it runs here, in a network namespace, or on
another host through ssh. Unwrapping by XDP is the one thing it cannot do; that is done here after
it, for which the host has to be this one.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path

from xdplb import config, netlink, routes
from xdplb.dataplane import decap as unwrapper
from xdplb.errors import MissingPart, NoPermission, NotFound, UsageError, XdplbError
from xdplb.net import Address, Prefix, parse_address, parse_senders, sort_prefixes

PARTS = tuple(
    Path(__file__).parent / "realserver_sh" / name for name in ("state.sh", "setup.sh", "check.sh")
)
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
SSH_FAILED = 255  # ssh's own failures; the script never ends so
WRONG, REFUSED = 1, 2  # how the script ends: a fact is wrong; it could not be done

# --persist copies the script to the host's disk: there it has to come as a file.
AS_FILE = 'file=$(mktemp); cat >"$file"; sh "$file" "$@"; end=$?; rm -f "$file"; exit $end'


class Decap(StrEnum):
    """Who unwraps: tunnel devices, our XDP program, or the devices if the kernel has them."""

    AUTO = "auto"
    IPIP = "ipip"
    XDP = "xdp"


@dataclass(frozen=True)
class Host:
    """Where a real server is: here, in a named network namespace, or behind ssh.

    Raises: UsageError for what is neither; NotFound for a namespace that is not there.
    """

    netns: str | None = None
    ssh: str | None = None

    def __post_init__(self) -> None:
        if self.netns is not None and self.ssh is not None:
            raise UsageError("--netns and --ssh contradict each other", "give one of them")
        if self.ssh is not None and (not self.ssh or self.ssh.startswith("-")):
            raise UsageError(f"'{self.ssh}' is no host", "give --ssh HOST, as ssh takes it")
        if self.netns is not None and not (
            self.netns and "/" not in self.netns and (netlink.NAMESPACES / self.netns).exists()
        ):
            raise NotFound(f"network namespace '{self.netns}' does not exist", "see: ip netns list")

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` there."""
        if self.ssh is not None:
            return [*SSH, self.ssh, *map(shlex.quote, argv)]
        if self.netns is not None:  # not `ip netns exec`: that would hide this host's /sys
            return ["nsenter", f"--net={netlink.NAMESPACES / self.netns}", *argv]
        return list(argv)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the host's network namespace for a while."""
        with netlink.namespace(self.netns) if self.netns is not None else contextlib.nullcontext():
            yield


@dataclass(frozen=True)
class Fact:
    """One thing that has to hold on a real server; `mend` is the command that makes it so."""

    name: str
    wanted: str
    found: str
    ok: bool
    mend: str = ""


@dataclass(frozen=True)
class Report:
    """What the script says: the facts of `check`, and what is set up."""

    facts: tuple[Fact, ...] = ()
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def vips(self) -> list[Address]:
        """What it answers for."""
        return [parse_address(text) for text in self.settings.get("vip", ())]

    @property
    def directors(self) -> list[Address | Prefix]:
        """Whom it takes tunnels from; none: anybody."""
        return [parse_senders(text, "director") for text in self.settings.get("director", ())]


def script() -> str:
    """The shell script: `sh realserver.sh setup|check|teardown --vip ADDR …`."""
    first, *others = (part.read_text() for part in PARTS)
    return "".join([first, *("\n" + text.partition("\n")[2].lstrip("\n") for text in others)])


def setup(
    host: Host,
    vips: Sequence[Address],
    directors: Sequence[Address | Prefix] = (),
    *,
    devices: Sequence[str] = (),
    decap: Decap = Decap.AUTO,
    persist: bool = False,
) -> list[Fact]:
    """Make a host a real server of these VIPs; what was set up before stays, and is mended.

    directors: accept tunnelled packets from them only (and those named before); none: from anybody.
    devices: where these come in; none: the interface towards the directors, or the world.
    Returns: the facts as they are afterwards; one may be wrong that only a person can decide on.
    Raises: UsageError, NotFound, NoPermission, MissingPart, XdplbError.
    """
    if not vips:
        raise UsageError("no VIP is given", "give --vip ADDRESS")
    if host.ssh is not None and decap is Decap.XDP:
        raise UsageError(
            f"--decap xdp needs xdplb on {host.ssh} itself",
            "load ipip there (modprobe ipip) and use --decap ipip, or run xdplb on that host",
        )
    if host.netns is not None and persist:
        raise UsageError(
            f"network namespace '{host.netns}' does not outlive a reboot", "leave out --persist"
        )
    if host.ssh is not None:
        decap = Decap.IPIP  # what remains of auto
    arguments = [*_arguments(vips, directors, devices), "--decap", decap]
    report = _run(host, "setup", [*arguments, *(["--persist"] if persist else [])], persist=persist)
    _unwrap(host, report)
    return check(host, vips, directors, devices=devices)


def check(
    host: Host,
    vips: Sequence[Address] = (),
    directors: Sequence[Address | Prefix] = (),
    *,
    devices: Sequence[str] = (),
    decap: Decap = Decap.AUTO,
) -> list[Fact]:
    """Everything that has to hold on a real server, right or wrong. Changes nothing.

    Without VIPs, those that were set up. Raises: UsageError, NotFound, NoPermission, XdplbError.
    """
    arguments = [*_arguments(vips, directors, devices), "--decap", decap]
    report = _run(host, "check", arguments)
    facts = list(report.facts)
    if host.ssh is None and report.settings["decap"] == (Decap.XDP,):
        with host.entered():
            facts += _program_facts(report)
    return facts


def teardown(host: Host, vips: Sequence[Address] = ()) -> None:
    """Take back these VIPs (none: all) and, with the last one, whatever setup changed.

    Nothing set up is nothing to do. Raises: NotFound, NoPermission, XdplbError.
    """
    _unwrap(host, _run(host, "teardown", _arguments(vips, (), ())))


def counters(host: Host) -> dict[str, dict[str, int]]:
    """What the XDP unwrappers of a host counted, by interface. None: tunl0 unwraps, see `ip -s`."""
    if host.ssh is not None:
        return {}
    with host.entered():
        return {each.ifname: each.counters for each in unwrapper.attached()}


def _arguments(
    vips: Sequence[Address], directors: Sequence[Address | Prefix], devices: Sequence[str]
) -> list[str]:
    for vip in vips:
        config.check_address(vip, "VIP")
    for sender in directors:
        first = sender if isinstance(sender, Address) else sender.network_address
        config.check_address(first, "director")
    for device in devices:
        if not device or device.startswith("-") or any(c in "/ \t\n" for c in device):
            raise UsageError(f"'{device}' is no interface's name", "see: ip link")
    return [
        *(word for vip in vips for word in ("--vip", str(vip))),
        *(word for director in directors for word in ("--director", str(director))),
        *(word for device in devices for word in ("--dev", device)),
    ]


def _run(host: Host, verb: str, arguments: Sequence[str], *, persist: bool = False) -> Report:
    if host.ssh is None and os.geteuid() != 0:
        raise NoPermission(f"realserver {verb} changes the network's settings", "run it as root")
    shell = ["sh", "-c", AS_FILE, "sh"] if persist else ["sh", "-s"]
    command = host.command([*shell, verb, *arguments])
    environment = os.environ | {"XDPLB_BOOT_COMMAND": _boot_command()}
    try:
        done = subprocess.run(
            command, input=script(), capture_output=True, text=True, env=environment, check=False
        )
    except FileNotFoundError as error:
        raise MissingPart(
            f"there is no {command[0]} command", "run: apt-get install util-linux openssh-client"
        ) from error
    report = _parse(done.stdout)
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


def _failure(host: Host, done: "subprocess.CompletedProcess[str]") -> XdplbError:
    said = [line for line in done.stderr.splitlines() if line.strip()]
    last = said[-1].strip() if said else f"exit status {done.returncode}"
    if host.ssh is not None and done.returncode == SSH_FAILED:
        return XdplbError(f"cannot reach {host.ssh} by ssh: {last}", f"try: ssh {host.ssh} true")
    where = f"{host.ssh}: " if host.ssh is not None else ""
    if done.returncode == REFUSED and last.startswith("error: "):
        what, _, mend = last.removeprefix("error: ").partition("; ")
        return XdplbError(where + what, mend)
    return XdplbError(
        f"{where}the real server's script failed: {last}",
        "see it line by line: xdplb realserver script | sh -x -s check --vip ADDRESS",
    )


def _unwrap(host: Host, report: Report) -> None:
    """Let XDP unwrap where the script says so, and nowhere else."""
    if host.ssh is not None:
        return
    wanted = report.settings.get("dev", ()) if report.settings.get("decap") == ("xdp",) else ()
    with host.entered():
        for device in wanted:
            frags = routes.has_jumbo_frames([device])
            unwrapper.attach(device, report.vips, report.directors, frags=frags)
        for attachment in unwrapper.attached():
            if attachment.ifname not in wanted:
                unwrapper.detach(attachment.ifname)


def _program_facts(report: Report) -> Iterator[Fact]:
    """What the program was told has to be what the script knows."""
    attached = {each.ifname: each for each in unwrapper.attached()}
    mend = "xdplb realserver setup --decap xdp"
    for device in report.settings.get("dev", ()):
        program = attached.get(device)
        if program is None:
            yield Fact(f"decap {device}", "xdplb's program", "none", False, mend)
            continue
        for name, wanted, known in (
            (f"vips {device}", _words(report.vips), _words(program.vips)),
            (f"directors {device}", _words(report.directors), _words(program.directors)),
        ):
            ok = known == wanted
            yield Fact(name, wanted, known, ok, "" if ok else mend)


def _words(senders: Iterable[Address | Prefix]) -> str:
    shown = sort_prefixes(map(ip_network, set(senders)))
    return " ".join(str(p if p.num_addresses > 1 else p.network_address) for p in shown) or "any"


def _boot_command() -> str:
    """What a unit of systemd runs to set up by XDP again."""
    beside = Path(sys.executable).with_name("xdplb")
    xdplb = str(beside) if beside.exists() else shutil.which("xdplb")
    return f"{xdplb} realserver" if xdplb else ""
