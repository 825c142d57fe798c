# SPDX-License-Identifier: MIT
"""Where a real server is: this host, a network namespace of it, or behind ssh."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xdplb.errors import NotFound, UsageError
from xdplb.host import namespaces

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")


@dataclass(frozen=True)
class Host:
    """Where a real server is: here, in a named network namespace, or behind ssh.

    Raises: UsageError for an invalid name; NotFound for a namespace that does not exist.
    """

    netns: str | None = None
    ssh: str | None = None

    def __post_init__(self) -> None:
        if self.netns is not None and self.ssh is not None:
            raise UsageError("--netns and --ssh contradict each other", "give one of them")
        if self.ssh is not None and not _is_word(self.ssh):
            raise UsageError(f"{self.ssh!r} is no host", "give --ssh HOST, as ssh takes it")
        if self.netns is None:
            return
        if not _is_word(self.netns) or "/" in self.netns or self.netns in (".", ".."):
            raise UsageError(f"{self.netns!r} is no network namespace's name", "see: ip netns list")
        if not (namespaces.NAMESPACES / self.netns).exists():
            raise NotFound(f"network namespace '{self.netns}' does not exist", "see: ip netns list")

    @property
    def options(self) -> list[str]:
        """The options that name it on a command line, quoted for a shell."""
        named = {"--ssh": self.ssh, "--netns": self.netns}
        return [
            word for name, at in named.items() if at is not None for word in (name, shlex.quote(at))
        ]

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` there."""
        if self.ssh is not None:
            return [*SSH, self.ssh, *map(shlex.quote, argv)]
        if self.netns is not None:  # not `ip netns exec`: that would hide this host's /sys
            return ["nsenter", f"--net={namespaces.NAMESPACES / self.netns}", *argv]
        return list(argv)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Enter the host's network namespace for a while."""
        with namespaces.entered(self.netns) if self.netns is not None else contextlib.nullcontext():
            yield


def _is_word(text: str) -> bool:
    """Neither empty nor an option, and no character that a line or a shell's word ends with."""
    return bool(text) and not text.startswith("-") and text.isprintable() and " " not in text
