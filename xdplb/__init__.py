# SPDX-License-Identifier: MIT
"""xdplb: an eBPF/XDP tunnel load balancer."""

__version__ = "0.1.0"
