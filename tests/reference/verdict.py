# SPDX-License-Identifier: MIT
"""The end of a packet's way: an action, a counter, and the frame that leaves."""

XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = 1, 2, 3, 4  # include/uapi/linux/bpf.h


class Verdict(Exception):
    """Raised by a stage. `frame` None: with XDP_PASS the frame that came, with XDP_DROP none."""

    def __init__(self, action: int, counter: str, frame: bytes | None = None) -> None:
        self.action = action
        self.counter = counter
        self.frame = frame


def goes_up(reason: str) -> Verdict:
    """The packet passes to the kernel, unchanged."""
    return Verdict(XDP_PASS, f"pass_{reason}")


def is_lost(reason: str) -> Verdict:
    """The packet is dropped."""
    return Verdict(XDP_DROP, f"drop_{reason}")
