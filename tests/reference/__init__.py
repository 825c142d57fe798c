# SPDX-License-Identifier: MIT
"""What must happen to a frame, in plain Python: written from RFCs and docs, not from the C text.

`director.Director` predicts bpf/xdplb.c, and `unwrapper.Unwrapper` predicts bpf/decap.c: action,
counter and frame, and what they remember for later packets. One module is one stage of the packet's
way (docs/architecture.md). A stage is a function that takes the packet, notes in it what it finds,
and raises a verdict where the packet's way ends. Numbers are Python's. Addresses are bytes in
network order.

A new kind of tunnel is a module beside `ipip.py`, named in `outer.py`.
"""
