# SPDX-License-Identifier: MIT
"""Checks of a configuration, whatever its source."""

from collections.abc import Sequence
from dataclasses import asdict
from ipaddress import IPv4Network, IPv6Address, IPv6Network

from xdplb.errors import UsageError, within
from xdplb.model.address import Address, Prefix
from xdplb.model.configuration import Timeouts
from xdplb.model.outer_source import check_source
from xdplb.model.schedulers import check_flags, get_scheduler
from xdplb.model.service import LIMITS, MAX_LIMIT, Protocol, Service, check_weight

MAX_TIMEOUT_S = 12 * 3600  # a flow's record can measure at least 15 hours
THIS_NETWORK = IPv4Network("0.0.0.0/8")  # RFC 1122 §3.2.1.3: no host has such an address
CLASS_E = IPv4Network("240.0.0.0/4")  # RFC 1112 §4: reserved; it includes the broadcast address
V4_MAPPED = IPv6Network("::ffff:0:0/96")  # how the tables hold IPv4: RFC 4291 §2.5.5.2


def check_service(service: Service) -> None:
    """Check a service by itself. Raises: UsageError."""
    with within(f"service {service.key}"):
        check_address(service.key.vip, "VIP")
        scheduler = get_scheduler(service.scheduler)
        check_flags(scheduler, service.flags)
        if service.one_packet and service.key.protocol != Protocol.UDP:
            raise UsageError("one_packet is for UDP only", "leave it out, or make this service UDP")
        for name in LIMITS:
            if not 0 <= getattr(service, name) <= MAX_LIMIT:
                raise UsageError(
                    f"{name}: {getattr(service, name)} is out of range",
                    f"give 1 to {MAX_LIMIT} new flows a second, or 0 for any number",
                )
        seen: set[Address] = set()
        for real in service.reals:
            check_address(real.address, "real")
            if real.address == service.key.vip:
                raise UsageError(f"real {real.address} is the VIP itself", "give the real's RIP")
            if real.address in seen:
                raise UsageError(
                    f"real {real.address} is given twice", "give it once, with their joint weight"
                )
            with within(f"real {real.address}"):
                check_weight(real.weight)
            seen.add(real.address)
        if service.source_cidr is not None:
            check_source(service.source_cidr, service.key.vip, seen)


def check_timeouts(timeouts: Timeouts) -> None:
    """Check that timeouts are from 1 s to 12 hours. Raises: UsageError."""
    for name, seconds in asdict(timeouts).items():
        if not 1 <= seconds <= MAX_TIMEOUT_S:
            raise UsageError(
                f"{name}: {seconds} s is out of range", f"give 1 to {MAX_TIMEOUT_S} seconds"
            )


def check_denied(prefixes: Sequence[Prefix]) -> None:
    """Check prefixes to deny. Raises: UsageError."""
    seen: set[Prefix] = set()
    for prefix in prefixes:
        if prefix.prefixlen == 0:
            raise UsageError(
                f"prefix {prefix} denies every IPv{prefix.version} client",
                "give a longer one; to stop all services: xdplb detach INTERFACE",
            )
        if prefix.overlaps(V4_MAPPED):  # never true of IPv4
            raise UsageError(
                f"prefix {prefix} takes in IPv4, by its v4-mapped addresses",
                "write 2000::/3 for all of IPv6's Internet, and IPv4 prefixes as 192.0.2.0/24",
            )
        if prefix in seen:
            raise UsageError(f"prefix {prefix} is given twice", "give it once")
        seen.add(prefix)


def check_address(address: Address, what: str) -> None:
    """Raises: UsageError naming `what` that cannot be balanced."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            raise UsageError(
                f"{what} {address} is an IPv4 address", f"write it as {address.ipv4_mapped}"
            )
        if address.is_link_local or address.scope_id:
            raise UsageError(f"{what} {address} is of one link only", "give a global address")
    elif address in THIS_NETWORK or address in CLASS_E:
        raise UsageError(f"{what} {address} is no host's address", "give a unicast address")
    if address.is_loopback:
        raise UsageError(
            f"{what} {address} never leaves a host", "give an address that others can reach"
        )
    if address.is_unspecified or address.is_multicast:
        raise UsageError(f"{what} {address} is no host's address", "give a unicast address")
