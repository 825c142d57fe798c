# SPDX-License-Identifier: MIT
"""Set up, check and tear down a real server."""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from ipaddress import ip_network

from xdplb.errors import UsageError
from xdplb.host import interfaces
from xdplb.model import checks
from xdplb.model.address import Address, Prefix, sort_prefixes
from xdplb.realserver import unwrapper
from xdplb.realserver.host import Host
from xdplb.realserver.script import Fact, Report, run


class Decap(StrEnum):
    """What unwraps: tunnel devices, our XDP program, or the devices if the kernel has them."""

    AUTO = "auto"
    IPIP = "ipip"
    XDP = "xdp"


def setup(
    host: Host,
    vips: Sequence[Address],
    directors: Sequence[Address | Prefix] = (),
    *,
    devices: Sequence[str] = (),
    decap: Decap = Decap.AUTO,
    persist: bool = False,
) -> list[Fact]:
    """Make a host a real server of these VIPs. Earlier setups stay, and are mended.

    directors: accept tunnelled packets from them only (and those named before); none: from anybody.
    devices: where these come in; none: the interface towards the directors, or the default route's.
    Returns: the facts afterwards. A fact may stay wrong if only a person can decide on it.
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
    report = run(host, "setup", [*arguments, *(["--persist"] if persist else [])], persist=persist)
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
    """All facts that must hold on a real server, right or wrong. Changes nothing.

    Without VIPs, those that were set up. Raises: UsageError, NotFound, NoPermission, XdplbError.
    """
    arguments = [*_arguments(vips, directors, devices), "--decap", decap]
    report = run(host, "check", arguments)
    facts = list(report.facts)
    if host.ssh is None and report.settings["decap"] == (Decap.XDP,):
        with host.entered():
            facts += _program_facts(report)
    return facts


def teardown(host: Host, vips: Sequence[Address] = ()) -> None:
    """Remove these VIPs (none: all) and, with the last one, undo all that setup changed.

    If nothing is set up and no VIP is named, it does nothing. Raises: NotFound, NoPermission,
    XdplbError naming a VIP that is not set up, before anything is changed.
    """
    _unwrap(host, run(host, "teardown", _arguments(vips, (), ())))


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
        checks.check_address(vip, "VIP")
    for sender in directors:
        first = sender if isinstance(sender, Address) else sender.network_address
        checks.check_address(first, "director")
        if sender in vips:
            raise UsageError(
                f"director {sender} is a VIP, too",
                "name the director's own address, from which it sends",
            )
    for device in devices:
        if not _is_interface_name(device):
            raise UsageError(f"{device!r} is no interface's name", "see: ip link")
    return [
        *(word for vip in vips for word in ("--vip", str(vip))),
        *(word for director in directors for word in ("--director", str(director))),
        *(word for device in devices for word in ("--dev", device)),
    ]


def _is_interface_name(text: str) -> bool:
    """As the kernel takes it (dev_valid_name(), net/core/dev.c), and no option."""
    return bool(re.fullmatch(r"[!-.0-9;-~][!-.0-9;-~]{0,14}", text)) and text[0] != "-"


def _unwrap(host: Host, report: Report) -> None:
    """Attach the XDP unwrapper where the script says so, and detach it elsewhere."""
    if host.ssh is not None:
        return
    wanted = report.settings.get("dev", ()) if report.settings.get("decap") == ("xdp",) else ()
    with host.entered():
        for device in wanted:
            frags = interfaces.has_jumbo_frames([device])
            unwrapper.attach(device, report.vips, report.directors, frags=frags)
        for attachment in unwrapper.attached():
            if attachment.ifname not in wanted:
                unwrapper.detach(attachment.ifname)


def _program_facts(report: Report) -> Iterator[Fact]:
    """Facts: the program has the VIPs and directors that the script knows."""
    attached = {each.ifname: each for each in unwrapper.attached()}
    for device in report.settings.get("dev", ()):
        program = attached.get(device)
        if program is None:
            yield Fact(f"decap {device}", "xdplb's program", "none", False, report.setup)
            continue
        for name, wanted, known in (
            (f"vips {device}", _words(report.vips), _words(program.vips)),
            (f"directors {device}", _words(report.directors), _words(program.directors)),
        ):
            ok = known == wanted
            yield Fact(name, wanted, known, ok, "" if ok else report.setup)


def _words(senders: Iterable[Address | Prefix]) -> str:
    shown = sort_prefixes(map(ip_network, set(senders)))
    return " ".join(str(p if p.num_addresses > 1 else p.network_address) for p in shown) or "any"
