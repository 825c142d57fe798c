# SPDX-License-Identifier: MIT
"""The control plane of one director: what the commands call.

Its names are imported when they are asked for: most commands need no compiler, and start-up is half
of what a command takes.
"""

from importlib import import_module
from typing import Any

_MODULES = {"Director": "director", "Place": "store", "attach": "lifecycle", "detach": "lifecycle"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
