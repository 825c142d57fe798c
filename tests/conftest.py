# SPDX-License-Identifier: MIT
"""Fixtures for tests of the XDP program. It is compiled once per session and set of sizes."""

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Silence bcc 0.26: it warns about a text that is not bytes, and quotes all of it."""
    config.addinivalue_line("filterwarnings", "ignore:not a bytes object:DeprecationWarning")


@pytest.fixture(scope="session")
def balancers() -> Iterator[Callable[..., Any]]:
    """The program by its tunables (default balancer.SMALL), compiled when first asked for."""
    from balancer import SMALL, Balancer

    with contextlib.ExitStack() as stack:

        @cache
        def load(tunables: Any) -> Any:
            try:
                return stack.enter_context(Balancer.loaded(tunables))
            except Exception as error:  # kept, so that the other tests need not try again
                return error

        def get(tunables: Any = SMALL) -> Any:
            loaded = load(tunables)
            if isinstance(loaded, Exception):
                raise loaded
            return loaded

        yield get


@pytest.fixture
def lb(balancers: Callable[..., Any]) -> Iterator[Any]:
    """The program with empty tables, in its network namespace; see balancer.Balancer."""
    with balancers().test() as balancer:
        yield balancer


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Stay on one CPU, for tests of what each CPU has for itself, such as the limit of answers."""
    home = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(home)})
    yield
    os.sched_setaffinity(0, home)


def pytest_assertrepr_compare(op: str, left: Any, right: Any) -> list[str] | None:
    """Frames that differ are shown field by field."""
    if op != "==":
        return None
    from differing import differing_frames

    return differing_frames(left, right)
