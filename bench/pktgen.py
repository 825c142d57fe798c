# SPDX-License-Identifier: MIT
"""Packets by the kernel's pktgen: `xdplb bench pktgen`, whose code is xdplb/traffic/."""

import sys

from xdplb.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["bench", "pktgen"]
    main()
