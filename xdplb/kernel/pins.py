# SPDX-License-Identifier: MIT
"""What is pinned, open for a while."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xdplb.kernel import libbpf


@contextmanager
def opened(pin: Path) -> Iterator[int]:
    """The descriptor of what is pinned there, open in the block.

    Raises: KernelRefused (with its errno), NoPermission.
    """
    fd = libbpf.obj_get(pin)
    try:
        yield fd
    finally:
        os.close(fd)
