# SPDX-License-Identifier: MIT
"""The network namespace of the program under test: the director's interfaces."""

import subprocess

import packets

SECOND_IFNAME, SECOND_GATEWAY, SECOND_GATEWAY6 = "ens160", "192.168.3.1", "2001:db8:3::1"
SECOND_HOP = packets.Hop(dst="02:00:00:00:03:01", src="02:00:00:00:03:c8")
RS1, RS2 = "192.168.2.220", "192.168.2.210"  # on the director's own link
RS1_HOP = packets.Hop(dst="02:00:00:00:02:dc", src=packets.DIP_MAC)

SYSCTLS = {
    "net/ipv4/ip_forward": 0,
    "net/ipv4/conf/lo/forwarding": 1,
    "net/ipv6/conf/lo/forwarding": 1,
}

# Reals on other networks are reached by the first gateway, but 10.3.0.0/16 and 2001:db8:a3::/48 by
# the second one.
NETWORK = f"""\
link set lo up
link add ens33 address {packets.DIP_MAC} type veth peer name peer33
link add {SECOND_IFNAME} address {SECOND_HOP.src} type veth peer name peer160
link add spare type veth peer name unused
link set ens33 up
link set peer33 up
link set {SECOND_IFNAME} up
link set peer160 up
address add {packets.DIP}/24 dev ens33
address add 192.168.3.200/24 dev {SECOND_IFNAME}
route add default via 192.168.2.1
route add 10.3.0.0/16 via {SECOND_GATEWAY}
address add {packets.DIP6}/64 dev ens33 nodad
address add 2001:db8:3::200/64 dev {SECOND_IFNAME} nodad
route add default via 2001:db8:2::1
route add 2001:db8:a3::/48 via {SECOND_GATEWAY6}
"""
NEIGHBOURS = f"""\
neighbour replace 192.168.2.1 lladdr {packets.GATEWAY_MAC} nud permanent dev ens33
neighbour replace {RS1} lladdr {RS1_HOP.dst} nud permanent dev ens33
neighbour replace {RS2} lladdr 02:00:00:00:02:d2 nud permanent dev ens33
neighbour replace {SECOND_GATEWAY} lladdr {SECOND_HOP.dst} nud permanent dev {SECOND_IFNAME}
neighbour replace 2001:db8:2::1 lladdr {packets.GATEWAY_MAC} nud permanent dev ens33
neighbour replace {SECOND_GATEWAY6} lladdr {SECOND_HOP.dst} nud permanent dev {SECOND_IFNAME}
"""


def ip_batch(lines: str) -> None:
    """Run many `ip` commands."""
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
