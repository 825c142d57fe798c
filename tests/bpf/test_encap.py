# SPDX-License-Identifier: MIT
import packets
import pytest
from balancer import XDP_TX

pytestmark = pytest.mark.root


def test_syn_leaves_in_ipip(lb):
    """A SYN to a VIP is sent to its real, wrapped once, otherwise untouched."""
    lb.add_service("10.0.0.80:80", reals=["192.168.0.7"])
    syn = packets.syn(dst="10.0.0.80", dport=80)

    out = lb.send(syn)

    assert (XDP_TX, packets.ipip(syn, dst="192.168.0.7")) == out
    assert {"forwarded": 1} == lb.counted
