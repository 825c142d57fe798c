# SPDX-License-Identifier: MIT
"""Settings of the network namespace that the calling thread is in."""

from pathlib import Path

from xdplb.errors import refused


def exists(path: str) -> bool:
    """Whether a setting such as `net/ipv6/conf/lo/forwarding` exists: a kernel may lack IPv6."""
    return Path("/proc/sys", path).exists()


def matching(pattern: str) -> list[str]:
    """The settings that match a pattern such as `net/ipv6/conf/*/accept_ra`."""
    return [str(path.relative_to("/proc/sys")) for path in Path("/proc/sys").glob(pattern)]


def read(path: str) -> str:
    """Read a setting such as `net/ipv4/conf/all/rp_filter`. Raises: KernelRefused."""
    try:
        return Path("/proc/sys", path).read_text().strip()
    except OSError as error:
        raise refused(f"sysctl {path} cannot be read", error.errno or 0) from error


def write(path: str, value: int | str) -> None:
    """Set a setting such as `net/ipv4/conf/all/rp_filter`. Raises: KernelRefused."""
    try:
        Path("/proc/sys", path).write_text(str(value))
    except OSError as error:
        raise refused(f"sysctl {path} cannot be set", error.errno or 0) from error
