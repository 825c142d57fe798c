# SPDX-License-Identifier: MIT
"""The reference case's five hosts on a kernel with ipip and IPVS, which `make test-vm` provides."""

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
    """Check that the kernel has what the tests need. Skips on a person's machine, fails in CI."""
    require_root()
    if subprocess.run(["modprobe", "-q", "-a", *MODULES]).returncode != 0:
        reason = f"kernel {platform.release()} has not all of {MODULES}; run: make test-vm"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster(modules: None) -> Iterator[Lab]:
    """The hosts without a director: real servers by `xdplb realserver setup`, with tunl0.

    They have no IPv6 VIP.
    """
    with served() as lab:
        yield lab


@pytest.fixture(scope="session")
def by_ipvs(cluster: Lab) -> Seen:
    """The results with IPVS. It comes first, while nothing of xdplb is on the director."""
    director = Ipvs(cluster)
    with director.attached():
        return see(director)


@pytest.fixture(scope="session")
def xdplb(by_ipvs: Seen, cluster: Lab) -> Iterator[Xdplb]:
    """Then xdplb, on the same hosts. It is attached once: compiling takes a minute here."""
    director = Xdplb(cluster)
    with director.attached():
        yield director


@pytest.fixture(scope="session")
def by_xdplb(xdplb: Xdplb) -> Seen:
    """The results with xdplb."""
    return see(xdplb)
