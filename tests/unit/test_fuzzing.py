# SPDX-License-Identifier: MIT
"""What the fuzzer says of a disagreement can be used."""

from collections import Counter
from itertools import cycle
from random import Random

import packets
import pytest
from fuzz import frames
from fuzz.arrival import Arrives, Disagreement, code
from fuzz.session import Failed, run
from reference.verdict import goes_up
from scapy import all as scapy


class Toy:
    """Its program fails if a third frame comes after the first one."""

    program, counters = "toy", ["pass_toy"]

    def begin(self, random):
        self.seen = []

    def steps(self, random):
        return cycle(Arrives(bytes(14 + number), 0) for number in range(100))

    def arrive(self, frame, ifindex):
        self.seen.append(len(frame))
        if len(frame) == 17 and 15 in self.seen:
            return Disagreement((2, {"pass_toy": 1}, frame), (1, {"drop_toy": 1}, frame))
        return goes_up("toy")

    def check_memory(self):
        return ""


class Forgetful(Toy):
    def arrive(self, frame, ifindex):
        return goes_up("toy")

    def check_memory(self):
        return "a flow is missing"


def test_what_led_there_is_made_short():
    """The report has only the steps that the disagreement needs, and how to repeat it."""
    with pytest.raises(Failed) as failed:
        list(run(Toy(), 7, 2, 50))

    said = str(failed.value)
    assert "make fuzz PROGRAM=toy SEED=7 ROUND=2" in said
    assert 2 == said.count("by interface")
    assert "-XDP_PASS" in said
    assert "+XDP_DROP" in said


def test_memory_is_compared_at_the_end_of_a_round():
    """A difference that no frame showed is found then."""
    with pytest.raises(Failed, match="a flow is missing"):
        list(run(Forgetful(), 7, 0, 50))


def test_frames_are_counted_in_rounds():
    """All rounds are full, except the last one."""
    counted = list(run(Toy(), 7, 0, 3))

    assert [Counter(pass_toy=3)] == counted


@pytest.mark.parametrize(
    "frame",
    [
        packets.syn(),
        packets.udp(payload=b"x" * 1400),
        packets.syn(chksum=1, ihl=9, len=3)[:50],
        packets.arp(),
        *(frames.damage(Random(seed), packets.syn()) for seed in range(20)),
    ],
)
def test_scapy_code_gives_the_frame(frame):
    """The code gives the frame byte for byte, even if it is invalid. A long rest is not written
    out.
    """
    written = code(frame)

    assert frame == bytes(eval(written, vars(scapy)))
    assert len(written) < 600
