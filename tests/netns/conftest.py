# SPDX-License-Identifier: MIT
"""The fixtures of the tests in namespaces; what they give is in fivehosts.py."""

import uuid
from collections.abc import Iterator

import pytest
from dualstack import IPV4, IPV6
from fivehosts import Lab, require_root, served

from xdplb import lab as labs


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A name that no other lab has; whatever a test builds under it is removed."""
    require_root()
    name = f"t{uuid.uuid4().hex[:8]}"
    yield name
    labs.down(name)


@pytest.fixture
def lab(lab_name: str) -> Lab:
    """The reference case's five hosts, without web servers."""
    labs.up(lab_name)
    return Lab(lab_name)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Lab]:
    """One `served()` for all tests of a file; nothing is attached."""
    with served() as lab:
        yield lab


@pytest.fixture(scope="module")
def attached(cluster: Lab) -> Lab:
    """One director for all tests of a file, on ens33 with its VIP; see `director`."""
    cluster.attach()
    return cluster


def unused(attached: Lab) -> Iterator[Lab]:
    """An attached director without services, all counters at zero; it loses what a test adds."""
    attached.xdplb("zero")
    yield attached
    attached.xdplb("flush")


@pytest.fixture
def director(attached: Lab) -> Iterator[Lab]:
    """See `unused()`."""
    yield from unused(attached)


@pytest.fixture(scope="module")
def attached_dual(cluster: Lab) -> Lab:
    """Real servers for a VIP of each family, a director with both VIPs."""
    names = [word for f in (IPV4, IPV6) for word in ("--vip", f.vip, "--director", f.dip)]
    for host in ("rs1", "rs2"):
        cluster.xdplb("realserver", "setup", *names, host=host)
        cluster.xdplb("realserver", "check", host=host)
    cluster.attach("ens33", "--vip", IPV6.vip)
    return cluster


@pytest.fixture
def dual(attached_dual: Lab) -> Iterator[Lab]:
    """See `unused()`; of both families."""
    yield from unused(attached_dual)
