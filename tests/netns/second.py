# SPDX-License-Identifier: MIT
"""A second interface for a lab's director."""

from fivehosts import Lab

NAME, PEER = "ens34", "peer34"


def add_interface(lab: Lab) -> None:
    """Add one without addresses; nobody is behind it."""
    lab.run("lvs", "ip", "link", "add", NAME, "type", "veth", "peer", "name", PEER)
    for name in (NAME, PEER):
        lab.run("lvs", "ip", "link", "set", name, "up", "addrgenmode", "none")
