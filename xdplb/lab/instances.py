# SPDX-License-Identifier: MIT
"""What xdplb pinned and wrote for a lab's hosts."""

import contextlib
import shutil
from pathlib import Path

from xdplb.errors import KernelRefused
from xdplb.host import namespaces
from xdplb.kernel.bpffs import BPFFS
from xdplb.lab.names import namespace_of
from xdplb.lab.topology import HOSTS
from xdplb.realserver import unwrapper

_INSTANCES = (Path("/run/xdplb"), BPFFS / "xdplb")  # where `xdplb` keeps state and pins
_REALSERVER_STATES = Path("/run/xdplb/realserver")


def instance(lab: str, host: str) -> str:
    """Name the instance that `xdplb` means on a host: /run and bpffs are shared by all hosts."""
    return f"{lab}-{host}"


def remove_instances(lab: str) -> None:
    """Forget what `xdplb` pinned and wrote for the hosts, while their namespaces still are there.

    A director's is named by its instance, a real server's by its network namespace.
    """
    for host in HOSTS:
        for directory in _INSTANCES:
            shutil.rmtree(directory / instance(lab, host), ignore_errors=True)
        with contextlib.suppress(FileNotFoundError, KernelRefused):  # no namespace
            number = (namespaces.NAMESPACES / namespace_of(lab, host)).stat().st_ino
            _REALSERVER_STATES.joinpath(f"{number}.state").unlink(missing_ok=True)
            with namespaces.entered(namespace_of(lab, host)):
                unwrapper.detach_all()
