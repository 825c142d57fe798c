# SPDX-License-Identifier: MIT
"""Named ICMP errors from routers about reals' packets to a client."""

from typing import Any

from built import ERRORS, QUOTED, Flow, error
from by_hand import CLIENTS, NOBODY
from datagram import HEADER, TCP, UDP, V4, V6, in_pieces, with_source
from ways import MTU, Way

from xdplb.model.address import parse_address

ROUTERS = {V4: bytes((203, 0, 113, 1)), V6: bytes.fromhex("20010db8000900000000000000000001")}
TOO_BIG = {V4: (3, 4), V6: (2, 0)}
# Parameter problem and redirect. In IPv6, IPVS sends the first one to the real.
NOT_STEERED = {V4: [(12, 0), (5, 1)], V6: [(4, 0), (4, 1), (4, 2)]}


def _flow(way: Way, protocol: int = TCP, port: int = 40001) -> Flow:
    return Flow(way, protocol, parse_address(CLIENTS[way.inner]).packed, port)


def _about(flow: Flow, kind: int, code: int, **fields: Any) -> bytes:
    """An ICMP error about the real's packet to the client."""
    version = flow.way.inner
    quoted = fields.pop("quoted", flow.answer())[: fields.pop("quote", QUOTED[version])]
    return error(ROUTERS[version], quoted, kind, code, 1400, **{"tos": 0xC0, **fields})


def of_way(way: Way) -> dict[str, bytes]:
    """Errors about flows that begin here, mainly too big."""
    cases = {}
    for name, protocol in (("TCP", TCP), ("UDP", UDP)):
        flow = _flow(way, protocol)
        cases[f"{name}, to have errors"] = flow.opening()
        cases[f"an error about {name}: too big"] = _about(flow, *TOO_BIG[way.inner])
    cases["an error that is too big"] = _too_big(flow)
    return cases


def _too_big(flow: Flow, **fields: Any) -> bytes:
    """An error that fills a frame."""
    version = flow.way.inner
    quote = {"quoted": flow.answer(2000), "quote": MTU - HEADER[version] - 8}
    return _about(flow, *TOO_BIG[version], **quote, **fields)


def of_family(way: Way) -> dict[str, bytes]:
    """Errors to send after the packets that begin the flow."""
    flow, too_big = _flow(way), TOO_BIG[way.inner]
    answer, header = flow.answer(), HEADER[way.inner]
    padded = {V4: {"options": b"\x01" * 4}, V6: {"extensions": [(60, b"\x01\x04" + bytes(4))]}}
    cases = {
        **{f"error {kind}, {code}": _about(flow, kind, code) for kind, code in ERRORS[way.inner]},
        **{
            f"error {kind}, {code}": _about(flow, kind, code)
            for kind, code in NOT_STEERED[way.inner]
        },
        "an error that quotes 500 bytes": _about(flow, *too_big, quote=500),
        "an error that quotes 4 bytes of TCP": _about(flow, *too_big, quote=header + 4),
        "an error that quotes options": _about(
            flow, *too_big, quoted=flow.answer(**padded[way.inner]), quote=header + 40
        ),
        "an error that quotes a fragment": _about(flow, *too_big, quoted=in_pieces(answer, 600)[1]),
        "an error that quotes a first fragment": _about(
            flow, *too_big, quoted=in_pieces(answer, 600)[0]
        ),
        "an error about no flow": _about(_flow(way, port=NOBODY), *too_big),
        "an error about no flow of the VIP": _about(
            flow, *too_big, quoted=with_source(answer, ROUTERS[way.inner])
        ),
        "an error with a wrong checksum": _about(flow, *too_big, right=False),
        "an error whose TTL is 1": _about(flow, *too_big, ttl=1),
    }
    if way.inner == V4:
        cases["an error with DF"] = _about(flow, *too_big, df=True)
        cases["an error with DF that is too big"] = _too_big(flow, df=True)
        large = _about(flow, *too_big, quote=1000)
        cases["an error in pieces"] = in_pieces(large, 600)
    return cases
