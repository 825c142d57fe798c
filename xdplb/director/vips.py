# SPDX-License-Identifier: MIT
"""VIPs: which are wanted, on which interface, and who has them now."""

from collections.abc import Iterable
from dataclasses import dataclass

from xdplb.director.state import State
from xdplb.errors import Conflict
from xdplb.host import addresses, probes
from xdplb.model.address import Address
from xdplb.model.checks import check_address


@dataclass(frozen=True)
class Vip:
    """One VIP as `vip list` shows it.

    device: the interface that has it, "" if none has. wanted: whether it was added as a VIP; else
    it is only that of services, and routers bring its packets here. added: whether xdplb added the
    address.
    """

    address: Address
    device: str
    wanted: bool
    added: bool
    services: int


def check_vip(vip: Address) -> None:
    """Raises: UsageError, Conflict if no service can have this address."""
    check_address(vip, "VIP")
    addresses.check_host(vip, "VIP")


def check_unanswered(vips: Iterable[Address], device: str, advice: str) -> None:
    """Ask the link whether another host answers for one of these. Raises: Conflict, which says who.

    advice: what to do about it.
    """
    here = addresses.local_addresses()
    strange = [vip for vip in vips if vip not in here]
    for vip, mac in probes.who_answer(strange, device).items():
        raise Conflict(f"VIP {vip} is answered by another host on {device}: {mac}", advice)


def place_vips(state: State, vips: Iterable[Address], device: str) -> None:
    """Want these VIPs on an interface, unless they are wanted on one that is attached."""
    attached = state.attached.interfaces if state.attached else {}
    for vip in vips:
        known = state.wanted.vips.get(vip)
        if known is None or (known and known not in attached):
            state.wanted.vips[vip] = device
