# SPDX-License-Identifier: MIT
"""Addresses on this host's interfaces."""

from ipaddress import ip_network

from xdplb.errors import Conflict, KernelRefused
from xdplb.host.ip import addresses_of, ip, links
from xdplb.model.address import Address


def local_addresses() -> set[Address]:
    """All addresses on this host's interfaces."""
    return {address for link in links() for address in addresses_of(link)}


def set_address(verb: str, ifname: str, address: Address) -> None:
    """Add or delete ("add", "delete") a VIP on an interface. Raises: KernelRefused.

    An IPv6 VIP is deprecated from the start, so that the kernel does not choose it as a source.
    Otherwise it takes the address most like the destination (RFC 6724 §5), and could prefer a VIP
    on the reals' network to the DIP. There is no duplicate address detection: reals have it, too.
    """
    place = [f"{address}/{address.max_prefixlen}", "dev", ifname]
    if address.version == 6 and verb == "add":
        place += ["nodad", "preferred_lft", "0"]
    done = ip("address", verb, *place)
    if done.returncode:
        raise KernelRefused(
            f"cannot {verb} {address} on {ifname}: {done.stderr.strip() or 'ip failed'}"
        )


def check_host(address: Address, what: str) -> None:
    """Raises: Conflict if it is the own or the broadcast address of a network of this host."""
    for link in links():
        for entry in link.get("addr_info", ()):
            if address.version != 4 or entry.get("family") != "inet" or entry["prefixlen"] > 30:
                continue
            network = ip_network(f"{entry['local']}/{entry['prefixlen']}", strict=False)
            if address in (network.network_address, network.broadcast_address):
                raise Conflict(
                    f"{what} {address} is no host's address in {network} ({link['ifname']})",
                    "give a host's address",
                )
