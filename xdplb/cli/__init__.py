# SPDX-License-Identifier: MIT
"""The command line: parses, calls one function, prints."""

from xdplb.cli.main import main

__all__ = ["main"]
