# SPDX-License-Identifier: MIT
"""The unwrapper, compiled once for all tests."""

from collections.abc import Iterator

import pytest
from unwrapped import Unwrapper


@pytest.fixture(scope="session")
def unwrapper() -> Iterator[Unwrapper]:
    """The program on an interface; see unwrapped.Unwrapper."""
    with Unwrapper.attached() as attached:
        yield attached


@pytest.fixture
def real(unwrapper: Unwrapper) -> Unwrapper:
    """A real server with one VIP of each family, which trusts one director of each."""
    unwrapper.begin()
    return unwrapper
