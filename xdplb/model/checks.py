# SPDX-License-Identifier: MIT
"""What must hold of a configuration, wherever it comes from."""

from collections.abc import Sequence
from dataclasses import asdict
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from xdplb.errors import AlreadyExists, UsageError, within
from xdplb.model.address import Address, Prefix
from xdplb.model.configuration import Timeouts
from xdplb.model.outer_source import check_source
from xdplb.model.schedulers import check_flags, get_scheduler
from xdplb.model.service import LIMITS, MAX_LIMIT, MAX_WEIGHT, Protocol, Service

MAX_TIMEOUT_S = 12 * 3600  # a flow's record tells times apart for 15 hours at least
BROADCAST = IPv4Address("255.255.255.255")
V4_MAPPED = IPv6Network("::ffff:0:0/96")  # how the tables hold IPv4: RFC 4291 §2.5.5.2


def check_service(service: Service) -> None:
    """What must hold of a service by itself. Raises: UsageError, AlreadyExists."""
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
                raise AlreadyExists(
                    f"real {real.address} is given twice", "give it once, with their joint weight"
                )
            if not 0 <= real.weight <= MAX_WEIGHT:
                raise bad_weight(real.address, real.weight)
            seen.add(real.address)
        if service.source_cidr is not None:
            check_source(service.source_cidr, service.key.vip, seen)


def check_timeouts(timeouts: Timeouts) -> None:
    """Timeouts are from 1 s to 12 hours. Raises: UsageError."""
    for name, seconds in asdict(timeouts).items():
        if not 1 <= seconds <= MAX_TIMEOUT_S:
            raise UsageError(
                f"{name}: {seconds} s is out of range", f"give 1 to {MAX_TIMEOUT_S} seconds"
            )


def check_denied(prefixes: Sequence[Prefix]) -> None:
    """What must hold of prefixes to deny. Raises: UsageError, AlreadyExists."""
    seen: set[Prefix] = set()
    for prefix in prefixes:
        if prefix.overlaps(V4_MAPPED):  # never true of IPv4
            raise UsageError(
                f"prefix {prefix} takes in IPv4, by its v4-mapped addresses",
                "write 2000::/3 for all of IPv6's Internet, and IPv4 prefixes as 192.0.2.0/24",
            )
        if prefix in seen:
            raise AlreadyExists(f"prefix {prefix} is given twice", "give it once")
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
        if address.is_loopback:
            raise UsageError(f"{what} {address} never leaves a host", "give a global address")
    if address.is_unspecified or address.is_multicast or address == BROADCAST:
        raise UsageError(f"{what} {address} is no host's address", "give a unicast address")


def bad_weight(address: Address, weight: object) -> UsageError:
    """The error for a weight that is no number, or out of range."""
    return UsageError(
        f"real {address}: weight '{weight}' will not do", f"give a number from 0 to {MAX_WEIGHT}"
    )
