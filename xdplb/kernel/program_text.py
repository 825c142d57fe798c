# SPDX-License-Identifier: MIT
"""The C programs: their text, its enums, and the compiler's flags."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from xdplb.kernel import libbpf
from xdplb.kernel.clock import Clock
from xdplb.model.tunables import Tunables
from xdplb.model.tunnel import GUE_PORT

_PACKAGED = Path(__file__).parents[1] / "bpf"
BPF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "bpf"
BUCKETS_PER_KEY = 4  # of four ways: at a full table one bucket in 10,000 is full (bpf/service.h)
REALS_PER_BUCKET = 4  # of eight records, each an address's: bpf/path.h
MAX_VLANS = 4096  # devices
UNWRAPPER_SIZES = {"MAX_DIRECTORS": 1024, "MAX_VIPS": 1024, "GUE_PORT": GUE_PORT}
_INCLUDE = re.compile(r'^#include "(?P<name>[^"]+)"$', re.MULTILINE)
_ENUM = re.compile(r"enum (?P<name>\w+) \{(?P<body>[^}]*)\};")
_MEMBER = re.compile(r"^\s*(?P<name>[A-Z0-9_]+) = (?P<value>\d+),", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """What is compiled together: a text, the functions in it that are programs, the flags.

    file: the text's name. Each flag is a size; where pins are is not in it, so that all instances
    have the same program.
    """

    file: str
    text: str
    functions: tuple[str, ...]
    flags: tuple[str, ...]


def read_source(
    file: str, functions: Sequence[str], flags: Sequence[str] = (), directory: Path | None = None
) -> Source:
    """A program's source; directory: where its file is, bpf/ if none is given."""
    return Source(file, splice(file, directory or BPF_DIR), tuple(functions), tuple(flags))


def director(tunables: Tunables, clock: Clock, *more: str) -> Source:
    """The director with the programs that it hands packets over to. more: flags."""
    flags = (*_defines(tunables, clock), *more)
    return read_source("xdplb.c", ("xdplb", *kinds().values()), flags)


def unwrapper() -> Source:
    """A real server's unwrapper."""
    flags = [f"-D{name}={value}" for name, value in UNWRAPPER_SIZES.items()]
    return read_source("decap.c", ("decap",), flags)


def splice(name: str, directory: Path) -> str:
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
    return enums_of((directory / "types.h").read_text())


def enums_of(text: str) -> Mapping[str, Mapping[str, int]]:
    """The members of all named enums of a text."""
    return {
        match["name"]: {m["name"]: int(m["value"]) for m in _MEMBER.finditer(match["body"])}
        for match in _ENUM.finditer(text)
    }


def kinds() -> dict[int, str]:
    """The functions of xdplb.c that are programs of their own, by their place in `programs`."""
    members = enum_values("kind").items()
    return {number: f"xdplb_{name.removeprefix('KIND_').lower()}" for name, number in members}


def bucket_bits(keys: int) -> int:
    """The size of a table of `keys` keys (bpf/service.h), as a power of two of buckets."""
    return max(1, (BUCKETS_PER_KEY * keys - 1).bit_length())


def _defines(tunables: Tunables, clock: Clock) -> list[str]:
    """The compiler's flags: sizes and the length of a tick, nothing else."""
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
    return [f"-D{name}={value}" for name, value in sizes.items()]


def layout_hash(tunables: Tunables, *, frags: bool) -> str:
    """Names a layout of the tables: a pinned table must never be reused under another one.

    frags: a table of programs holds those for jumbo frames, or the others, for all its life.
    """
    import hashlib

    parts = [splice("maps.h", BPF_DIR), repr(sorted(dataclasses.asdict(tunables).items()))]
    parts += ["frags"] * frags
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
