# SPDX-License-Identifier: MIT
"""What xdplb pinned and wrote for a lab's hosts."""

import contextlib
import shutil
from pathlib import Path

from xdplb.director.instance import PINS, RUN
from xdplb.errors import KernelRefused, NotFound
from xdplb.host import namespaces
from xdplb.lab.names import namespace_of
from xdplb.lab.topology import HOSTS
from xdplb.realserver import unwrapper

_REALSERVER_STATES = Path("/run/xdplb/realserver")


def remove_instances(lab: str) -> None:
    """Forget what `xdplb` pinned and wrote for the hosts, while their namespaces still are there.

    A director's is named by its namespace's cookie, a real server's by its number.
    """
    for host in HOSTS:
        with (
            contextlib.suppress(NotFound, KernelRefused),
            namespaces.entered(namespace_of(lab, host)),
        ):
            unwrapper.detach_all()
            suffix = namespaces.suffix()
            for path in (*RUN.glob(f"*{suffix}*"), *PINS.glob(f"*{suffix}")) if suffix else ():
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
        with contextlib.suppress(FileNotFoundError):
            number = (namespaces.NAMESPACES / namespace_of(lab, host)).stat().st_ino
            _REALSERVER_STATES.joinpath(f"{number}.state").unlink(missing_ok=True)
