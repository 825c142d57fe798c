# SPDX-License-Identifier: MIT
"""Namespaces' inode numbers are given again: what was of a namespace that is gone is nobody's."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from balancer import require_root

from xdplb.host import namespaces

pytestmark = pytest.mark.root
PATIENCE_S = 20


def number_of(name: str) -> int:
    return Path("/run/netns", name).stat().st_ino


@contextlib.contextmanager
def namespace() -> Iterator[str]:
    name = f"xdplb-number-{uuid.uuid4().hex[:8]}"
    namespaces.create(name)
    try:
        yield name
    finally:
        namespaces.remove(name)


@contextlib.contextmanager
def namespace_numbered(number: int) -> Iterator[str]:
    """The kernel gives the lowest free number, some time after its last owner has gone."""
    deadline = time.monotonic() + PATIENCE_S
    with contextlib.ExitStack() as others:
        while time.monotonic() < deadline:
            name = others.enter_context(namespace())
            if number_of(name) == number:
                yield name
                return
            time.sleep(0.05)
        pytest.skip(f"no new namespace got the number {number} in {PATIENCE_S} s")


def cookie_of(name: str) -> int:
    with namespaces.entered(name):
        return namespaces.cookie()


def test_a_cookie_is_given_once():
    """Two namespaces of the same number, one after the other, differ by their cookies."""
    require_root()
    with namespace() as first:
        number, before = number_of(first), cookie_of(first)
        assert before == cookie_of(first)
    with namespace_numbered(number) as second:
        assert before != cookie_of(second)
