# SPDX-License-Identifier: MIT
"""The VLAN devices of this host."""

from typing import Any

from xdplb.host.ip import links
from xdplb.model.network import Vlan

TPIDS = {"802.1Q": 0x8100, "802.1ad": 0x88A8}  # IEEE 802.1Q table 9-1


def vlans() -> dict[int, Vlan]:
    """VLAN devices by their numbers, if the interface below them is in this namespace too.

    A VLAN device may be on another one: then it has the tags of both.
    """
    by_name = {link["ifname"]: link for link in links("-details") if "ifname" in link}
    found = {}
    for name, link in by_name.items():
        tags: list[tuple[int, int]] = []
        while _is_vlan(by_name.get(name, {})) and "link" in by_name[name]:
            tags.insert(0, _tag(by_name[name]["linkinfo"]["info_data"]))
            name = by_name[name]["link"]
        if tags and name in by_name:
            found[link["ifindex"]] = Vlan(by_name[name]["ifindex"], tuple(tags))
    return found


def _is_vlan(link: dict[str, Any]) -> bool:
    return bool(link.get("linkinfo", {}).get("info_kind") == "vlan")


def _tag(data: dict[str, Any]) -> tuple[int, int]:
    return TPIDS[data["protocol"]], int(data["id"])
