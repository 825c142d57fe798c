# SPDX-License-Identifier: MIT
"""How packets are wrapped on their way to a real server."""

from dataclasses import dataclass

from xdplb.errors import UsageError
from xdplb.model.address import parse_port

TUNNEL_KINDS = ("ipip", "gre", "gue")
GUE_PORT = 6080  # IANA's


@dataclass(frozen=True)
class Tunnel:
    """How packets are wrapped on their way to a real: ipvsadm's `--tun-type` and its options.

    Text form: `ipip`, `gre`, `gre+csum`, `gue:6080`, `gue:6080+csum`.
    """

    kind: str = "ipip"
    port: int = 0  # GUE's UDP port
    checksum: bool = False

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        return f"{self.kind}{port}{'+csum' if self.checksum else ''}"

    @classmethod
    def parse(cls, text: str) -> "Tunnel":
        """The inverse of `str()`. `gue` without a port gets GUE_PORT. Raises: UsageError."""
        rest, plus, checksum = text.partition("+")
        kind, colon, port = rest.partition(":")
        if plus and checksum != "csum":
            raise UsageError(f"tunnel '{text}' ends in '+{checksum}'", "only +csum can stand there")
        return cls.of(kind, parse_port(port, "tunnel port") if colon else None, bool(plus))

    @classmethod
    def of(cls, kind: str, port: int | None = None, checksum: bool = False) -> "Tunnel":
        """A valid tunnel; a GUE without a port gets GUE_PORT. Raises: UsageError."""
        if kind not in TUNNEL_KINDS:
            raise UsageError(
                f"there is no tunnel '{kind}'", f"choose from {', '.join(TUNNEL_KINDS)}"
            )
        if kind == "ipip" and checksum:
            raise UsageError("an ipip tunnel has no checksum", "choose gre or gue, or leave it out")
        if kind != "gue" and port is not None:
            raise UsageError(f"tunnel {kind} has no port", "choose gue, or leave the port out")
        if port == 0:
            raise UsageError("tunnel port 0 is none", "give a number from 1 to 65535")
        return cls(kind, port or (GUE_PORT if kind == "gue" else 0), checksum)


IPIP = Tunnel()
