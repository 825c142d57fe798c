# SPDX-License-Identifier: MIT
"""Addresses on this host's interfaces."""

from ipaddress import ip_interface

from xdplb.errors import Conflict, KernelRefused
from xdplb.host.ip import addresses_of, ip, links
from xdplb.model.address import Address, Prefix


def local_addresses() -> set[Address]:
    """All addresses on this host's interfaces."""
    return {address for link in links() for address in addresses_of(link)}


def check_no_network(address: Address, what: str) -> None:
    """Raises: Conflict naming `what` that is an address of a network here, not of a host in it.

    Such are IPv4's network and broadcast addresses (RFC 1122 §3.3.6), and IPv6's subnet-router
    anycast address (RFC 4291 §2.6.1). Networks of one or two addresses have none (RFC 3021, 6164).
    An address that an interface has is the operator's decision.
    """
    shown = links()
    if any(address in addresses_of(link) for link in shown):
        return
    for link in shown:
        for info in link.get("addr_info", ()):
            if "local" not in info:
                continue
            name = info.get("address", info["local"])  # of a point-to-point link, the peer's
            network = ip_interface(f"{name}/{info['prefixlen']}").network
            if network.num_addresses > 2 and (role := _role_in(network, address)):
                raise Conflict(
                    f"{what} {address} is the {role} of {network} on {link['ifname']}",
                    "give an address of a host",
                )


def _role_in(network: Prefix, address: Address) -> str:
    if address == network.network_address:
        return "network's address"
    if address.version == 4 and address == network.broadcast_address:
        return "broadcast address"
    return ""


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
