# SPDX-License-Identifier: MIT
"""What the stages found out about a frame."""

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10  # RFC 9293 §3.1


class Packet:
    """One frame on its way, by an interface of that MTU; `linear` bytes of it are in one buffer.

    `tags` as they stand in the frame; `at` is where its IP header is, `header` how long that is
    with whatever stands between it and the transport's; `options` are IPv4's. `error`: it is no
    packet of its flow, but an ICMP error about one. `fragment`: first, later or none, which is "";
    `fragment_id`: what tells its packet from others of the same addresses.
    """

    __slots__ = (
        "at",
        "client",
        "client_port",
        "dont_fragment",
        "error",
        "ethertype",
        "flags",
        "fragment",
        "fragment_id",
        "frame",
        "header",
        "ifindex",
        "length",
        "linear",
        "mtu",
        "new_flow",
        "options",
        "protocol",
        "service_port",
        "tags",
        "tos",
        "vip",
    )

    def __init__(self, frame: bytes, ifindex: int, mtu: int = 1500, linear: int = 1 << 16) -> None:
        self.frame = frame
        self.ifindex = ifindex
        self.mtu = mtu
        self.linear = linear
        self.flags = self.options = 0
        self.error = False
        self.fragment = ""
        self.new_flow = False

    @property
    def is_ipv6(self) -> bool:
        """By its addresses."""
        return len(self.client) == 16

    @property
    def opens(self) -> bool:
        """A SYN without ACK and RST opens a connection (docs/fidelity.md)."""
        return self.flags & (SYN | ACK | RST) == SYN

    @property
    def begins(self) -> bool:
        """Without a known flow, it begins one."""
        return self.opens or (self.protocol == UDP and not self.error)
