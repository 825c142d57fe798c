# SPDX-License-Identifier: MIT
"""The control plane of one director: what the commands call."""

from xdplb.controller.director import Director
from xdplb.controller.lifecycle import attach, detach
from xdplb.controller.state import Place

__all__ = ["Director", "Place", "attach", "detach"]
