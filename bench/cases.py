# SPDX-License-Identifier: MIT
"""The cases that packet.py and instructions.py measure."""

from frames import ACK, SYN, Order, Piece, Stream
from rig import Balanced
from stopwatch import Case, begin, establish, flood

MILLION = 1 << 20
REALS = 100
MH, RR, MH6, RR6, MH6_IN_4, GUE, GRE = range(7)  # numbers of services
NOBODY = 4000  # the number of no service; its VIP is no VIP
SERVICES = [
    Balanced(MH, "mh", REALS),
    Balanced(RR, "rr", REALS),
    Balanced(MH6, "mh", REALS, family=6, outer=6),
    Balanced(RR6, "rr", REALS, family=6, outer=6),
    Balanced(MH6_IN_4, "mh", REALS, family=6),
    Balanced(GUE, "mh", REALS, tunnel="gue"),
    Balanced(GRE, "mh", REALS, tunnel="gre"),
]

RR_1 = Stream(Order.FIXED, 1, ACK, RR)
RR_1M = Stream(Order.RANDOM, MILLION, ACK, RR)
RR6_1 = Stream(Order.FIXED, 1, ACK, RR6, family=6)
LATER = Stream(Order.FIXED, 1, ACK, MH, piece=Piece.LATER)
LATER6 = Stream(Order.FIXED, 1, ACK, MH6, family=6, piece=Piece.LATER)

CASES = {
    "mh-1": Case(Stream(Order.FIXED, 1, ACK, MH)),
    "mh-1M": Case(Stream(Order.RANDOM, MILLION, ACK, MH)),
    "mh-syn": Case(Stream(Order.SEQUENTIAL, 0, SYN, MH)),
    "rr-1": Case(RR_1, establish(RR_1)),
    "rr-1M": Case(RR_1M, establish(RR_1M), rounds=201, packets=120_000),
    "rr-syn": Case(Stream(Order.SEQUENTIAL, 0, SYN, RR), flood(RR), rounds=201, packets=120_000),
    "pass": Case(Stream(Order.FIXED, 1, ACK, NOBODY), counter="pass_not_vip"),
    "mh6-1": Case(Stream(Order.FIXED, 1, ACK, MH6, family=6), beside="mh-1"),
    "mh6-1M": Case(Stream(Order.RANDOM, MILLION, ACK, MH6, family=6), beside="mh-1M"),
    "mh6in4-1": Case(Stream(Order.FIXED, 1, ACK, MH6_IN_4, family=6), beside="mh-1"),
    "rr6-1": Case(RR6_1, establish(RR6_1), beside="rr-1"),
    "gre-1": Case(Stream(Order.FIXED, 1, ACK, GRE), beside="mh-1"),
    "gue-1": Case(Stream(Order.FIXED, 1, ACK, GUE), beside="mh-1"),
    # The first fragment is remembered for half a minute, so there are fewer rounds.
    "frag-1": Case(LATER, begin(LATER), rounds=201, beside="mh-1"),
    "frag6-1": Case(LATER6, begin(LATER6), rounds=201, beside="frag-1"),
}
