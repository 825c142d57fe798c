# SPDX-License-Identifier: MIT
"""Who holds the XDP program of an interface, and the command that takes it off."""

from xdplb.host.interfaces import ifindex, xdp_mode, xdp_programs
from xdplb.kernel import libbpf


def how_to_free(ifname: str) -> str:
    """The command that takes whatever program there is off an interface.

    `ip link` refuses where a link holds the program, and without the mode it takes off none that is
    generic, and says nothing. Raises: NotFound.
    """
    index, running = ifindex(ifname), xdp_programs(ifname)
    for link in libbpf.links():
        if link.ifindex == index and link.prog_id in running:
            return f"bpftool link detach id {link.id}"
    mode = "xdpgeneric" if xdp_mode(ifname) == "generic" else "xdpdrv"
    return f"ip link set {ifname} {mode} off"
