# SPDX-License-Identifier: MIT
"""The kernel headers that BCC compiles with."""

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xdplb.errors import MissingPart

_TREE_PREFIX = "xdplb-headers-"


@dataclasses.dataclass(frozen=True)
class Headers:
    """Kernel headers: where they are and which kernel's; split as Debian splits them or whole."""

    build: Path
    common: Path | None

    def __str__(self) -> str:
        return str(self.build)


def find_headers() -> Headers:
    """The running kernel's headers, else the newest that are installed: the uapi is stable.

    Raises: MissingPart with the apt line that mends it.
    """
    import platform

    running = Path("/lib/modules") / platform.release() / "build"
    if (running / "include").is_dir():
        return _headers(running.resolve())
    installed = [
        path
        for path in Path("/usr/src").glob("linux-headers-*")
        if (path / "include/generated/autoconf.h").is_file()
    ]
    if not installed:
        raise MissingPart(
            f"no kernel headers are installed for {platform.release()}, nor any others",
            "run: apt-get install linux-headers-amd64",
        )
    return _headers(max(installed, key=_version))


def _version(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]


def _headers(build: Path) -> Headers:
    if (build / "include/linux").is_dir():
        return Headers(build, None)
    common = Path(re.sub(r"-[a-z0-9]+$", "-common", str(build)))
    if not common.is_dir():
        raise MissingPart(
            f"the headers in {build} lack their common half {common}",
            f"run: apt-get install {common.name}",
        )
    return Headers(build, common)


def _remove_left_trees(place: Path) -> None:
    """Those of processes that were killed while they compiled: no compilation takes an hour."""
    import shutil
    import time

    for tree in place.glob(f"{_TREE_PREFIX}*"):
        with suppress(FileNotFoundError):  # its maker may just be done
            if time.time() - tree.stat().st_mtime > 3600:
                shutil.rmtree(tree, ignore_errors=True)


@contextmanager
def header_tree(headers: Headers) -> Iterator[Path]:
    """One tree that BCC can compile with.

    Debian splits its headers in two, and BCC finds them only as `build` and `source` under
    /lib/modules/$(uname -r), which a container or another kernel does not have. So a directory of
    links, for the time of one compilation, puts the halves together.
    """
    if headers.common is None:
        yield headers.build
        return
    import tempfile

    _remove_left_trees(Path(tempfile.gettempdir()))
    machine = next(p.name for p in (headers.build / "arch").iterdir() if p.is_dir())
    with tempfile.TemporaryDirectory(prefix=_TREE_PREFIX) as tree:
        for part in ("include", f"arch/{machine}/include"):
            merged = Path(tree, part)
            merged.mkdir(parents=True)
            for half in (headers.common, headers.build):
                for entry in (half / part).iterdir():
                    (merged / entry.name).symlink_to(entry)
        yield Path(tree)
