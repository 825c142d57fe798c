# SPDX-License-Identifier: MIT
"""The network around the director under test, and its changes while packets come in.

It is the network of tests/network.py with a few more routes.
"""

import struct
from dataclasses import dataclass, replace
from ipaddress import ip_address
from socket import if_nametoindex

import packets
from network import NEIGHBOURS, RS1, RS2, SECOND_HOP, SECOND_IFNAME, ip_batch
from reference.content import NO_NEIGHBOUR, NO_ROUTE, Hop

from xdplb.model.network import Vlan

MTU, JUMBO_MTU = 1500, 9000  # of the first and of the second interface
FAR = [f"192.168.0.{n}" for n in range(7, 13)]  # reached by the gateway
SECOND = ["10.3.0.7", "10.3.0.8"]  # reached by another interface
NARROW, LOSABLE = ("10.7.0.1", "2001:db8:97::1"), ("10.8.0.1", "2001:db8:98::1")
SILENT, LOCAL = ("192.168.2.99", "2001:db8:2::99"), (packets.DIP, packets.DIP6)
FAR6 = [f"2001:db8:9::{n}" for n in range(7, 10)]
SECOND6 = "2001:db8:a3::7"
REALS = [*FAR, RS1, RS2, *SECOND, *FAR6, SECOND6, *NARROW, *LOSABLE, *SILENT, *LOCAL]

VLANS = ((), ((0x8100, 7),), ((0x88A8, 4094), (0x8100, 1)))
OTHER_MAC = "02:00:00:00:99:99"
RS_MACS = {RS1: "02:00:00:00:02:dc", RS2: "02:00:00:00:02:d2"}


@dataclass(frozen=True)
class Network:
    """What may change: MAC addresses (rs1's may be unknown), paths' MTUs, routes, VLAN tags.

    lost: what the LOSABLE reals lack: "route", "neighbour", or "" for nothing.
    """

    gateway: str = packets.GATEWAY_MAC
    rs1: str | None = RS_MACS[RS1]
    narrow: int = 1400
    narrow6: int = 1290
    lost: str = ""
    vlan: tuple[tuple[int, int], ...] = ()  # tags of the second interface, as of a VLAN device

    def vlans(self) -> dict[int, Vlan]:
        """The VLAN devices as the director gets them."""
        first, second = if_nametoindex("ens33"), if_nametoindex(SECOND_IFNAME)
        return {second: Vlan(first, self.vlan)} if self.vlan else {}

    def commands(self) -> list[str]:
        """Lines for `ip` that make this network."""
        way, way6 = "via 192.168.2.1", "via 2001:db8:2::1"
        address = f"neighbour replace {RS1} lladdr {self.rs1} nud permanent dev ens33"
        return [
            f"neighbour replace 192.168.2.1 lladdr {self.gateway} nud permanent dev ens33",
            f"neighbour replace 2001:db8:2::1 lladdr {self.gateway} nud permanent dev ens33",
            address if self.rs1 else f"neighbour del {RS1} dev ens33",
            f"route replace {NARROW[0]} {way} mtu lock {self.narrow}",
            f"route replace {NARROW[1]} {way6} mtu lock {self.narrow6}",
            *(
                f"route replace unreachable {real}"
                if self.lost == "route"
                else f"route replace {real} {f'via {silent}' if self.lost else hop}"
                for real, hop, silent in zip(LOSABLE, (way, way6), SILENT, strict=True)
            ),
        ]

    def become(self, other: "Network") -> None:
        """Change this network to the other one."""
        ip_batch("\n".join(sorted(set(other.commands()) - set(self.commands()))))

    @staticmethod
    def begin() -> "Network":
        """Make the first network."""
        first = Network()
        jumbo = f"link set {SECOND_IFNAME} mtu {JUMBO_MTU}\n"
        ip_batch(jumbo + NEIGHBOURS + "\n".join(first.commands()))
        return first

    def ways(self) -> dict[bytes, Hop | str]:
        """The kernel's answer for each real, by its RIP."""
        ways: dict[bytes, Hop | str] = {
            packed(rip): way(self.gateway) for rip in (*FAR, *FAR6, *NARROW, *LOSABLE)
        }
        ways |= {packed(rip): way(mac) for rip, mac in RS_MACS.items()}
        second = way(SECOND_HOP.dst, SECOND_IFNAME, SECOND_HOP.src)._replace(mtu=JUMBO_MTU)
        if self.vlan:
            tags = b"".join(struct.pack("!HH", *tag) for tag in self.vlan)
            second = second._replace(vlan=(if_nametoindex("ens33"), tags))
        ways |= {packed(rip): second for rip in (*SECOND, SECOND6)}
        for rip, mtu in zip(NARROW, (self.narrow, self.narrow6), strict=True):
            ways[packed(rip)] = way(self.gateway)._replace(mtu=mtu)
        ways |= {packed(rip): NO_NEIGHBOUR for rip in SILENT}
        ways[packed(RS1)] = way(self.rs1) if self.rs1 else NO_NEIGHBOUR
        if self.lost:
            lack = NO_ROUTE if self.lost == "route" else NO_NEIGHBOUR
            ways |= {packed(rip): lack for rip in LOSABLE}
        return ways

    def variants(self) -> list["Network"]:
        """Networks with one change."""
        return [
            replace(self, gateway=OTHER_MAC if self.gateway != OTHER_MAC else packets.GATEWAY_MAC),
            replace(self, narrow=2690 - self.narrow),  # 1400, or 1290
            replace(self, narrow6=2620 - self.narrow6),  # 1290, or 1330: IPv6's 1280 and IPIP fit
            *(replace(self, lost=what) for what in ("", "route", "neighbour") if what != self.lost),
            *(replace(self, vlan=tags) for tags in VLANS if tags != self.vlan),
            *(replace(self, rs1=mac) for mac in (RS_MACS[RS1], OTHER_MAC, None) if mac != self.rs1),
        ]


def packed(address: str) -> bytes:
    """An address's bytes."""
    return ip_address(address).packed


def way(mac: str, ifname: str = "ens33", source: str = packets.DIP_MAC) -> Hop:
    """A hop to a neighbour."""
    return Hop(if_nametoindex(ifname), packets.mac(mac) + packets.mac(source), MTU)
