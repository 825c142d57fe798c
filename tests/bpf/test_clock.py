# SPDX-License-Identifier: MIT
"""What the kernel says of its clock."""

import time

from balancer import require_root

from xdplb.kernel.clock import jiffies, running_clock


def test_hz_is_what_jiffies_do():
    """Counted for half a second, however slow this machine is, they tell the same."""
    require_root()
    start, first = time.monotonic(), jiffies()
    time.sleep(0.5)
    counted = (jiffies() - first) & 0xFFFFFFFF
    rate = counted / (time.monotonic() - start)

    assert abs(rate / running_clock().hz - 1) < 0.1
