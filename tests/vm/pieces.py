# SPDX-License-Identifier: MIT
"""Named packets in fragments (RFC 791 §3.2, RFC 8200 §4.5)."""

from by_hand import tcp, udp
from datagram import HEADER, V6, in_pieces
from scapy.layers.inet import IPOption
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from ways import MTU, Way

TOS = (0, 0xB9, 0xBA, 0xBB)


def of_way(way: Way) -> dict[str, list[bytes]]:
    """Packets whose fragments fit the tunnel, or do not."""
    large = udp(way, 4000, ip_flags=0)
    return {
        "UDP in pieces": in_pieces(large, 1400),
        "UDP in pieces that just fit": in_pieces(large, way.fits),
        "UDP in pieces that are too big": in_pieces(large, MTU),
        "UDP in pieces that would fit together": in_pieces(udp(way, 1000, ip_flags=0), 600),
        "TCP in pieces": in_pieces(tcp(way, 2000, ip_flags=0), 1000),
    }


def of_family(way: Way) -> dict[str, list[bytes]]:
    """Fragmented packets; many of these cases do not depend on the tunnel."""
    pieces = in_pieces(udp(way, 4000, ip_flags=0), 1400)
    header = HEADER[way.inner] + (8 if way.inner == V6 else 0)
    small = in_pieces(udp(way, 100, ip_flags=0), header + 8)
    cases = {
        **{
            f"pieces, TOS {tos}": in_pieces(udp(way, 2000, ip_flags=0, tos=tos), 1400)
            for tos in TOS
        },
        "pieces of 8 bytes": small,
        "pieces from the last to the first": pieces[::-1],
        "pieces but for the last": pieces[:-1],
        "pieces but for the first": pieces[1:],
        "pieces, the second of which is lost": [pieces[0], pieces[2]],
        "pieces whose TTL is 1": in_pieces(udp(way, 2000, ip_flags=0, ttl=1), 1400),
        "pieces of a datagram of 9000 bytes": in_pieces(udp(way, 9000, ip_flags=0), 1400),
        "pieces without a checksum": in_pieces(udp(way, 2000, check=0, ip_flags=0), 1400),
        "a first piece without all of TCP's header": in_pieces(
            tcp(way, 100, ip_flags=0), header + 16
        ),
    }
    if way.inner == V6:
        chain = [IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()]
        cases["pieces with extensions"] = in_pieces(udp(way, 2000, extensions=chain), 1400)
        cases["an atomic fragment"] = in_pieces(udp(way, 200), 1400)
        cases["an atomic fragment of TCP"] = in_pieces(tcp(way, 200), 1400)
    else:
        cases["pieces with DF"] = in_pieces(udp(way, 2000), 1400)
        options = [IPOption(b"\x01" * 4)]
        cases["pieces with options"] = in_pieces(udp(way, 2000, ip_flags=0, options=options), 1400)
    return cases
