#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Show the reference case: five hosts, two web servers, a director, and the commands a user types.

All happens in network namespaces. They are removed at the end, also after Ctrl-C or a failure.
"""

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from xdplb import lab  # noqa: E402 - found beside this file
from xdplb.errors import XdplbError  # noqa: E402

LAB = "demo"
PAGE = f"http://{lab.VIP}/"
EXPECTED = "rs2 rs1 rs2 rs1"  # as ipvsadm's rr answers: the server added last comes first
LARGE = f"http://{lab.VIP}/large"

# The service's packets as the switch of 192.168.2.0/24 counts them, independent of the director.
SWITCH_COUNTERS = f"""
table bridge demo {{
    counter requests_to_lvs {{ }}
    counter replies_to_lvs {{ }}
    counter replies_to_route {{ }}
    chain forward {{
        type filter hook forward priority 0;
        oifname lvs ip daddr {lab.VIP} tcp dport 80 counter name requests_to_lvs
        oifname lvs ip saddr {lab.VIP} tcp sport 80 counter name replies_to_lvs
        oifname route ip saddr {lab.VIP} tcp sport 80 counter name replies_to_route
    }}
}}
"""


def main() -> int:
    """Show the demo, and always clean up. Returns: the exit status."""
    become_root()
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C
    start = time.monotonic()
    code = 1
    with alone():
        try:
            lab.down(LAB)  # left by a demo that was killed
            show()
            code = 0
        except KeyboardInterrupt:
            say("\ninterrupted")
            code = 130
        except (XdplbError, subprocess.SubprocessError) as error:
            say(f"\nthe demo failed: {error}")
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            lab.down(LAB)  # also detaches and undoes all setup on its hosts
    say(f"\ncleaned up; {time.monotonic() - start:.1f} seconds in all")
    return code


def show() -> None:
    """Show all steps, from five bare hosts to the proof."""
    title("Five hosts: client, route, lvs (the director), rs1 and rs2, each a network namespace")
    lab.up(LAB)
    lab.start_web(LAB)
    for host in lab.status(LAB):
        web = "   nginx" if host.web_pid else ""
        say(f"  {host.name:8}{', '.join(host.addresses)}{web}")

    title("The director")
    user_types("lvs", f"xdplb attach ens33 --vip {lab.VIP}")
    user_types("lvs", f"xdplb service add -t {lab.VIP}:80 -s rr")
    user_types("lvs", f"xdplb server add -t {lab.VIP}:80 -r 192.168.2.220")
    user_types("lvs", f"xdplb server add -t {lab.VIP}:80 -r 192.168.2.210")

    title("The real servers")
    user_types("rs1", f"xdplb realserver setup --vip {lab.VIP}")
    user_types("rs2", f"xdplb realserver setup --vip {lab.VIP}")

    title("Four requests")
    answers = " ".join(user_reads("client", f"curl -s -m 5 {PAGE}") for _ in range(4))
    say(answers)
    if answers != EXPECTED:
        raise XdplbError(f"'{EXPECTED}' was expected")
    user_types("lvs", "xdplb list --stats")

    title("Requests pass the director, replies do not: a page of 10 MiB")
    prove()


def prove() -> None:
    """Fetch a large page; show the packets in and out of each host. Raises: XdplbError."""
    interfaces = [(h.name, i.name) for h in lab.HOSTS.values() for i in h.interfaces]
    subprocess.run(
        lab.command(LAB, "net2", ["nft", "-f", "-"]), input=SWITCH_COUNTERS, text=True, check=True
    )
    before = {at: lab.counters(LAB, *at) for at in interfaces}
    user_reads("client", f"curl -s -m 30 -o /dev/null {LARGE}")
    moved = {at: lab.counters(LAB, *at) - before[at] for at in interfaces}
    switch = switch_counters()

    say(f"\n  {'interface counters':20}{'received':>26}{'sent':>30}")
    for (host, ifname), c in moved.items():
        received = f"{c.rx_packets:10,} packets {c.rx_bytes:12,} B"
        sent = f"{c.tx_packets:10,} packets {c.tx_bytes:12,} B"
        say(f"  {host:8}{ifname:8}{received}{sent}")
    say("  (a veth with an XDP program counts received bytes without Ethernet's 14)")
    say("\n  packets of the service, counted by the switch of 192.168.2.0/24")
    for name, packets in switch.items():
        say(f"  {name.replace('_', ' '):20}{packets:10,}")

    if switch["replies_to_lvs"] or not switch["replies_to_route"] or not switch["requests_to_lvs"]:
        raise XdplbError("replies crossed the director, or nothing was counted")
    say(f"\nNone of {switch['replies_to_route']:,} replies crossed the director.")


def switch_counters() -> dict[str, int]:
    """Read the switch's counters: name to packets."""
    listed = lab.run(LAB, "net2", ["nft", "-j", "list", "counters"]).stdout
    found = [item["counter"] for item in json.loads(listed)["nftables"] if "counter" in item]
    return {counter["name"]: counter["packets"] for counter in found}


# A user's part


def user_types(host: str, line: str) -> None:
    """Echo a command, run it on a host and show its output. Raises: XdplbError."""
    echo(host, line)
    argv = lab.command(LAB, host, shlex.split(line))
    code = subprocess.run(argv).returncode
    if code != 0:
        raise XdplbError(f"`{line}` on {host} ended with {code}")


def user_reads(host: str, line: str) -> str:
    """Echo a command, run it on a host and give what it printed. Raises: XdplbError."""
    echo(host, line)
    return lab.run(LAB, host, shlex.split(line)).stdout.strip()


def echo(host: str, line: str) -> None:
    """Show a command as a terminal would."""
    say(f"{host}# {line}" if not sys.stdout.isatty() else f"{host}# \033[1m{line}\033[0m")


def title(text: str) -> None:
    """Print the title of a step."""
    say(f"\n{text}\n")


def say(text: str) -> None:
    """Print at once, so that the commands' output comes after it."""
    print(text, flush=True)


# Root, and only one demo at a time


def become_root() -> None:
    """Start again under sudo, if this is not root."""
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            sys.exit("the demo needs root for its network namespaces, and there is no sudo")
        os.execvp("sudo", ["sudo", "--", sys.executable, *sys.argv])


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Refuse to run beside another demo, whose hosts this one would remove."""
    with Path(__file__).open() as this:
        try:
            fcntl.flock(this, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another demo is running")
        yield


if __name__ == "__main__":
    sys.exit(main())
