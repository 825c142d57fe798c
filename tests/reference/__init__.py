# SPDX-License-Identifier: MIT
"""What must become of a frame, in plain Python: written from RFCs and docs, not from the C text.

`director.Director` predicts bpf/xdplb.c, `unwrapper.Unwrapper` bpf/decap.c: action, counter and
frame, and what they remember for the packets to come. One module is one stage of the packet's way
(docs/architecture.md): a function that takes the packet, notes what it finds there, and raises the
verdict where the way ends. Numbers are Python's, addresses are their bytes in network order.

A new kind of tunnel is a module beside `ipip.py`, named in `outer.py`.
"""
