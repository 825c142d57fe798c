# SPDX-License-Identifier: MIT
"""The kernel headers that BCC compiles with."""

import dataclasses
import re
from pathlib import Path

from xdplb.errors import MissingPart


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


def compiler_view(headers: Headers) -> tuple[Path, list[str]]:
    """The tree that BCC compiles in, and flags for what it does not look for there by itself.

    Debian splits its headers in two, and BCC finds them only as `build` and `source` under
    /lib/modules/$(uname -r), which a container or another kernel does not have.
    """
    if headers.common is None:
        return headers.build, []
    machine = next(path for path in (headers.build / "arch").iterdir() if path.is_dir())
    made = (
        *("include", "include/generated/uapi"),
        *(f"arch/{machine.name}/include/generated{part}" for part in ("", "/uapi")),
    )
    return headers.common, [f"-I{headers.build / each}" for each in made]
