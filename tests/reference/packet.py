# SPDX-License-Identifier: MIT
"""What the stages have found out about a frame."""

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10  # RFC 9293 §3.1


class Packet:
    """One frame from an interface with this MTU. Its first `linear` bytes are in one buffer.

    `tags`: as in the frame. `at`: offset of the IP header. `header`: bytes from there to the
    transport header. `options`: bytes of IPv4 options. `error`: an ICMP error about a packet of
    the flow. `fragment`: "first", "later", or "" for a whole packet. `fragment_id`: identifies the
    fragmented packet among those with the same addresses.
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
        """Whether it begins a flow if it has no record."""
        return self.opens or (self.protocol == UDP and not self.error)
