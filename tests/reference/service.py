# SPDX-License-Identifier: MIT
"""Which service a packet is for."""

from ipaddress import ip_address

from reference import ipv6
from reference.content import Content, Service
from reference.packet import Packet
from reference.verdict import goes_up, is_lost

ANY_PORT = 0


def check_vip(p: Packet, content: Content) -> None:
    """A packet to another address than a VIP always passes."""
    if p.vip not in content.vips:
        raise goes_up("not_vip")


def check_denied(p: Packet, content: Content) -> None:
    """Packets from a denied prefix are dropped, except neighbour discovery."""
    if not content.denied or (p.is_ipv6 and ipv6.is_neighbour_discovery(p)):
        return
    client = ip_address(p.client)
    if any(client in prefix for prefix in content.denied):
        raise is_lost("denied")


def find_service(p: Packet, content: Content) -> Service:
    """The service on this port, else the VIP's service for any port."""
    services = content.services
    service = services.get((p.vip, p.protocol, p.service_port)) or services.get(
        (p.vip, p.protocol, ANY_PORT)
    )
    if service is None:
        raise goes_up("no_service")
    return service
