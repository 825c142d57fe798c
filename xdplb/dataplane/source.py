# SPDX-License-Identifier: MIT
"""The C program's text, and the kernel headers to compile it with. No I/O but reading files.

What only `attach` needs of the library is imported when it is: every command reads the enums.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from xdplb.dataplane import libbpf
from xdplb.dataplane.clock import Clock
from xdplb.errors import MissingPart, UsageError
from xdplb.model import Tunables

_PACKAGED = Path(__file__).parents[1] / "bpf"
BPF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "bpf"

BUCKETS_PER_KEY = 4  # of four ways: at a full table one bucket in 10,000 is full (bpf/service.h)
REALS_PER_BUCKET = 4  # of eight records, each an address's: bpf/path.h
MAX_REALS = 65536  # a slot and a flow's record name a real by 16 bits (bpf/types.h)
MAX_FLOW_BUCKET_BITS = 23  # 512 MB, as far as the verifier follows an offset (BPF_MAX_VAR_OFF)
MAX_SOURCE_BITS = 26  # 512 MB, for the same reason
MAX_VLANS = 4096  # devices
MAX_DENIED = 1 << 20  # prefixes: every command reads them all

_TREE_PREFIX = "xdplb-headers-"

_INCLUDE = re.compile(r'^#include "(?P<name>[^"]+)"$', re.MULTILINE)
_ENUM = re.compile(r"enum (?P<name>\w+) \{(?P<body>[^}]*)\};")
_MEMBER = re.compile(r"^\s*(?P<name>[A-Z0-9_]+) = (?P<value>\d+),", re.MULTILINE)


def splice(name: str, directory: Path = BPF_DIR) -> str:
    """The text of a program with its own headers spliced in, once each.

    BCC rewrites table access only in the main text, never in an included header. `#line` markers
    make the compiler's messages name the right file.
    """
    seen: set[str] = set()

    def read(file: str) -> str:
        if file in seen:
            return ""
        seen.add(file)
        lines = [f'#line 1 "{file}"']
        for number, line in enumerate((directory / file).read_text().splitlines(), 1):
            match = _INCLUDE.match(line)
            lines += [read(match["name"]), f'#line {number + 1} "{file}"'] if match else [line]
        return "\n".join(lines) + "\n"

    return read(name)


def enum_values(name: str) -> Mapping[str, int]:
    """The members of an enum of `types.h`: the only place where they are written."""
    return _read_enums(BPF_DIR)[name]


@lru_cache
def _read_enums(directory: Path) -> Mapping[str, Mapping[str, int]]:
    return {
        match["name"]: {m["name"]: int(m["value"]) for m in _MEMBER.finditer(match["body"])}
        for match in _ENUM.finditer((directory / "types.h").read_text())
    }


def kinds() -> dict[int, str]:
    """The functions of xdplb.c that are programs of their own, by their place in `programs`."""
    members = enum_values("kind").items()
    return {number: f"xdplb_{name.removeprefix('KIND_').lower()}" for name, number in members}


def bucket_bits(keys: int) -> int:
    """The size of a table of `keys` keys (bpf/service.h), as a power of two of buckets."""
    return max(1, (BUCKETS_PER_KEY * keys - 1).bit_length())


def check_tunables(tunables: Tunables) -> None:
    """Raises: UsageError naming the first size that cannot be."""
    for name, most, each in (
        ("flow_buckets", MAX_FLOW_BUCKET_BITS, "each bucket holds 8 flows in 64 bytes"),
        ("fragment_buckets", MAX_FLOW_BUCKET_BITS, "each bucket holds 8 packets in 64 bytes"),
        ("source_tallies", MAX_SOURCE_BITS, "each takes 8 bytes"),
    ):
        size = getattr(tunables, name)
        bits = size.bit_length() - 1
        if size != 1 << bits or not 1 <= bits <= most:
            raise UsageError(
                f"{name} {size} is not a power of two from 2 to 2^{most}", f"give one; {each}"
            )
    for name, low, high in (
        ("max_vips", 1, 4096),
        ("max_services", 2, 4096),
        ("max_reals", 2, MAX_REALS),
        ("ring_slots", 251, 131071),
        ("max_denied", 1, MAX_DENIED),
    ):
        if not low <= getattr(tunables, name) <= high:
            raise UsageError(
                f"{name} {getattr(tunables, name)} is out of range", f"give {low} to {high}"
            )


def defines(tunables: Tunables, pin_dir: Path, clock: Clock) -> list[str]:
    """The compiler's flags: sizes, the pin directory and the length of a tick, nothing else."""
    sizes = {
        "VIP_BUCKET_BITS": bucket_bits(tunables.max_vips),
        "SERVICE_BUCKET_BITS": bucket_bits(tunables.max_services),
        "FLOW_BUCKET_BITS": tunables.flow_buckets.bit_length() - 1,
        "FRAGMENT_BUCKET_BITS": tunables.fragment_buckets.bit_length() - 1,
        "PATH_BUCKET_BITS": max(1, (tunables.max_reals // REALS_PER_BUCKET - 1).bit_length()),
        "SOURCE_BITS": tunables.source_tallies.bit_length() - 1,
        "MAX_DENIED": tunables.max_denied,
        "MAX_VLANS": MAX_VLANS,
        "MAX_SERVICES": tunables.max_services,
        "MAX_REALS": tunables.max_reals,
        "RING_SLOTS": tunables.ring_slots,
        "TICK_SHIFT": clock.shift,
        "CPUS": libbpf.possible_cpus(),
    }
    return [*(f"-D{name}={value}" for name, value in sizes.items()), f'-DPIN="{pin_dir}"']


def layout_hash(tunables: Tunables, *, frags: bool) -> str:
    """Names a layout of the tables: a pinned table must never be reused under another one.

    frags: a table of programs holds those for jumbo frames, or the others, for all its life.
    """
    import hashlib

    parts = [splice("maps.h", BPF_DIR), repr(sorted(dataclasses.asdict(tunables).items()))]
    parts += ["frags"] * frags
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


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
