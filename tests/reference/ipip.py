# SPDX-License-Identifier: MIT
"""IP in IP (RFC 2003); ECN as in RFC 6040 §4.1, normal mode; ID as in RFC 6864 §4.1."""

from reference import ipv4
from reference.checksum import adjust
from reference.content import Hop, Real
from reference.link import IPV4
from reference.packet import Packet

LENGTH = ipv4.HEADER
PROTOCOL = 4


def encapsulate(p: Packet, real: Real, src: bytes, hop: Hop, sent: bytes) -> bytes:
    """The frame for a real. Without DF the outer ID is anything: the one in `sent` is taken."""
    inner = spend_ttl(p.frame[p.at :])
    start = 14 + len(p.tags)
    df = ipv4.dont_fragment(p)
    outer = ipv4.header(
        tos=inner[1],
        length=p.length + LENGTH,
        id_=bytes(2) if df else sent[start + 4 : start + 6],
        df=df,
        ttl=inner[8],
        protocol=PROTOCOL,
        src=src,
        dst=real.rip,
    )
    return hop.macs + p.tags + IPV4 + outer + inner


def spend_ttl(packet: bytes) -> bytes:
    """One hop less to go; a wrong checksum stays as wrong as it was."""
    old = packet[8:10]
    new = bytes((old[0] - 1, old[1]))
    return packet[:8] + new + adjust(packet[10:12], old, new) + packet[12:]
