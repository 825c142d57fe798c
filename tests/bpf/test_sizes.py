# SPDX-License-Identifier: MIT
"""The program loads whatever sizes its tables are given."""

import packets
import pytest
from balancer import SYN, XDP_TX, Balancer

from xdplb.model.tunables import Tunables

pytestmark = pytest.mark.root

SMALLEST = Tunables(max_vips=1, max_services=2, max_reals=2, ring_slots=251, flow_buckets=2)
LARGEST = Tunables(max_vips=4096, max_services=4096, ring_slots=131071)


@pytest.mark.parametrize(
    "tunables", [SMALLEST, Tunables(), LARGEST], ids=["smallest", "default", "largest"]
)
def test_program_loads_with_tables_of_any_size(tunables):
    """The program compiles and forwards with any sizes of its tables."""
    with Balancer.loaded(tunables) as balancer, balancer.test() as lb:
        lb.add_service()

        assert (XDP_TX, packets.ipip(SYN)) == lb.send(SYN)
