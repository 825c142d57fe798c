# SPDX-License-Identifier: MIT
"""Requests by wrk: `xdplb bench wrk`, whose code is xdplb/traffic/."""

import sys

from xdplb.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["bench", "wrk"]
    main()
