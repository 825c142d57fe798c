# SPDX-License-Identifier: MIT
"""The reference case's hosts with IPv6 beside IPv4, set by hand: nothing announces itself."""

import subprocess

from fivehosts import Lab

from xdplb import lab as labs

VIP6, DIP6, RS1_6, RS2_6 = (f"2001:db8:2::{n}" for n in ("100", "200", "220", "210"))
CLIENT6 = "2001:db8:1::200"

ADDRESSES = {
    "client": {"ens33": CLIENT6},
    "route": {"ens33": "2001:db8:1::1", "ens160": "2001:db8:2::1"},
    "lvs": {"ens33": DIP6},
    "rs1": {"ens33": RS1_6},
    "rs2": {"ens33": RS2_6},
}
QUIET = "accept_dad accept_ra router_solicitations"


def give_ipv6(lab: Lab) -> None:
    """Switch IPv6 on, with an address on each interface, and gateways as for IPv4."""
    for host, interfaces in ADDRESSES.items():
        lines = [
            f"for setting in {QUIET}; do",
            "echo 0 | tee /proc/sys/net/ipv6/conf/*/$setting; done",
            f"echo {int(host == 'route')} >/proc/sys/net/ipv6/conf/all/forwarding",
            "echo 0 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6",
        ]
        for ifname, address in interfaces.items():
            lines.append(f"ip address add {address}/64 dev {ifname} nodad")
            gateway = f"{address[: address.index('::')]}::1"
            if address != gateway:
                lines.append(f"ip route add default via {gateway}")
        shell(lab, host, "\n".join(lines))


def shell(lab: Lab, host: str, script: str) -> None:
    """Run a script on a host."""
    command = labs.command(lab.name, host, ["sh", "-e"])
    subprocess.run(command, input=script, text=True, check=True, stdout=subprocess.DEVNULL)
