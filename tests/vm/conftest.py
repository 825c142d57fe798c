# SPDX-License-Identifier: MIT
"""The reference case's five hosts on a kernel that has ipip and IPVS; `make test-vm` sees to it."""

import os
import platform
import subprocess
from collections.abc import Iterator

import pytest
from directors import Ipvs, Xdplb
from fivehosts import Lab, require_root, served
from seen import Seen, see

MODULES = ("ipip", "ip_vs", "ip_vs_rr", "ip_vs_mh", "ip_vs_sh")


@pytest.fixture(scope="session")
def modules() -> None:
    """What the tests need of the kernel. Skips on a person's machine, fails in CI."""
    require_root()
    if subprocess.run(["modprobe", "-q", "-a", *MODULES]).returncode != 0:
        reason = f"kernel {platform.release()} has not all of {MODULES}; run: make test-vm"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster(modules: None) -> Iterator[Lab]:
    """The hosts but for the director: real servers by `xdplb realserver setup`, with tunl0.

    They have no VIP of IPv6.
    """
    with served() as lab:
        yield lab


@pytest.fixture(scope="session")
def by_ipvs(cluster: Lab) -> Seen:
    """First IPVS, while there is nothing of xdplb on the director."""
    director = Ipvs(cluster)
    with director.attached():
        return see(director)


@pytest.fixture(scope="session")
def xdplb(by_ipvs: Seen, cluster: Lab) -> Iterator[Xdplb]:
    """Then xdplb, on the same hosts. Attached once: it compiles, which takes a minute here."""
    director = Xdplb(cluster)
    with director.attached():
        yield director


@pytest.fixture(scope="session")
def by_xdplb(xdplb: Xdplb) -> Seen:
    """The same with xdplb."""
    return see(xdplb)
