# SPDX-License-Identifier: MIT
"""The real server's unwrapper (bpf/decap.c): attach it by a pinned link, fill its tables.

    /sys/fs/bpf/xdplb-decap/<network namespace's cookie>-<interface>/
        link
        <version>/program directors vips counters

The version is a hash of the program's text. If the attached program has the same text, only its
tables are changed; otherwise it is replaced in place. Every function works in the caller's network
namespace.
"""

import contextlib
import ctypes
import hashlib
import json
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network
from pathlib import Path

from xdplb.errors import InterfaceBusy, KernelRefused
from xdplb.host import directories, locks, namespaces
from xdplb.host.interfaces import ifindex
from xdplb.host.xdp_holders import how_to_free
from xdplb.kernel import libbpf, loader, pins, program_cache, program_text, xdp_link
from xdplb.kernel.bpffs import BPFFS, check_bpffs
from xdplb.kernel.byte_order import mapped, prefix_length
from xdplb.model.address import Address, Prefix

PINS = BPFFS / "xdplb-decap"
DESCRIPTIONS = Path("/run/xdplb/decap")  # bpffs takes no plain files: the counters' names are here

ANY_DIRECTOR = bytes(20)  # ::/0
_PREFIX = struct.Struct("=I16s")  # struct prefix of decap.c: its length in bits, the address


@dataclass(frozen=True)
class Attachment:
    """An unwrapper on an interface. `directors` empty: it accepts packets from anybody."""

    ifname: str
    vips: frozenset[Address]
    directors: frozenset[Address | Prefix]
    counters: dict[str, int]
    pins: Path  # of its program and maps


def attach(
    ifname: str,
    vips: Sequence[Address],
    directors: Sequence[Address | Prefix] = (),
    *,
    frags: bool = False,
) -> str:
    """Unwrap on an interface, for these VIPs, from these directors (none: from anybody).

    On an interface that unwraps already, only the tables are changed. frags: also jumbo frames.
    Returns: the mode reached, `native` or `generic`, or `kept`.
    Raises: NotFound, InterfaceBusy, MissingPart, KernelRefused.
    """
    index = ifindex(ifname)
    check_bpffs()
    home = _home(ifname)
    layout = home / _version(frags)
    # Not under the lock, if it has to be compiled.
    compiled = None if _is_attached(layout, index) else program_cache.unwrapper()
    with _locked(), contextlib.ExitStack() as opened:
        _sweep()
        if _is_attached(layout, index):
            _fill(layout, vips, directors)
            return "kept"
        _remove(layout)
        for directory in (PINS, home, layout):
            directories.make(directory)
        program = loader.load(compiled or program_cache.unwrapper(), layout, frags=frags)
        opened.callback(program.close)
        _description(layout).write_text(json.dumps(program.tables))
        _fill(layout, vips, directors)
        mode = _link(home / "link", program.fd, index, ifname)
        libbpf.obj_pin(program.fd, layout / "program")  # the mark that it is the one in use
        for other in home.iterdir():
            if other.name not in ("link", layout.name):
                _remove(other)
        return mode


def detach(ifname: str) -> None:
    """Take the program off an interface; no error if it has none."""
    with _locked():
        _remove(_home(ifname))


def detach_all() -> None:
    """Take the program off all interfaces of this network namespace."""
    with _locked():
        for home in _homes():
            _remove(home)


def attached() -> list[Attachment]:
    """All interfaces of this network namespace that unwrap."""
    found = []
    for home in _homes():
        index = _ifindex_of_link(home)
        places = [path for path in home.iterdir() if _is_whole(path)]
        with contextlib.suppress(OSError):  # no interface has this index: what is left of one
            found += [_read(layout, socket.if_indextoname(index)) for layout in places[:1]]
    return found


def _read(layout: Path, ifname: str) -> Attachment:
    with pins.opened(layout / "vips") as fd:
        vips = frozenset(libbpf.map_keys(fd, 16))
    with pins.opened(layout / "directors") as fd:
        directors = frozenset(key for key in libbpf.map_keys(fd, 20) if key != ANY_DIRECTOR)
    return Attachment(
        ifname,
        frozenset(_address(packed) for packed in vips),
        frozenset(map(_director, directors)),
        _counters(layout),
        layout,
    )


def _is_whole(layout: Path) -> bool:
    return (layout / "program").exists()


def _is_attached(layout: Path, index: int) -> bool:
    there = _is_whole(layout) and _description(layout).exists()
    return there and _ifindex_of_link(layout.parent) == index


def _description(layout: Path) -> Path:
    return DESCRIPTIONS / f"{layout.name}.json"


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Hold the lock: a half-built attachment looks like one that was left behind."""
    directories.make(DESCRIPTIONS)
    with locks.locked(DESCRIPTIONS / "lock"):
        yield


def _counters(layout: Path) -> dict[str, int]:
    _, fields, _ = json.loads(_description(layout).read_text())["counters"]["leaf"]
    record = struct.Struct(f"={len(fields)}Q")
    with pins.opened(layout / "counters") as fd:
        per_cpu = [record.unpack(one) for one in libbpf.read_per_cpu(fd, 0, record.size)]
    return {
        name: sum(values)
        for (name, *_), values in zip(fields, zip(*per_cpu, strict=True), strict=True)
    }


def _address(packed: bytes) -> Address:
    address = IPv6Address(packed)
    return address.ipv4_mapped or address


def _director_key(director: Address | Prefix) -> bytes:
    prefix = ip_network(director)
    return _PREFIX.pack(prefix_length(prefix), mapped(prefix.network_address))


def _director(key: bytes) -> Address | Prefix:
    length, packed = _PREFIX.unpack(key)
    address = _address(packed)
    if length == 8 * len(packed):
        return address
    return ip_network((address, length - 8 * len(packed) + address.max_prefixlen))


def _fill(layout: Path, vips: Sequence[Address], directors: Sequence[Address | Prefix]) -> None:
    """Make the tables hold exactly these. New entries come first, then old ones are removed."""
    trusted = set(map(_director_key, directors)) or {ANY_DIRECTOR}
    for name, wanted in (("directors", trusted), ("vips", {mapped(vip) for vip in vips})):
        with pins.opened(layout / name) as fd:
            size = libbpf.map_info(fd).key_size
            present = set(libbpf.map_keys(fd, size))
            for key in wanted - present:
                libbpf.map_update(fd, _buffer(key), _buffer(b"\1"))
            for key in present - wanted:
                libbpf.map_delete(fd, _buffer(key))


def _buffer(data: bytes) -> object:
    return ctypes.create_string_buffer(data, len(data))


def _link(pin: Path, program: int, index: int, ifname: str) -> str:
    if _ifindex_of_link(pin.parent) == index:
        xdp_link.update(pin, program)
        return "kept"
    try:
        return xdp_link.attach(pin, program, index, xdp_link.MODES["auto"])
    except KernelRefused as error:
        if error.errno in xdp_link.OCCUPIED:
            raise InterfaceBusy(
                f"another XDP program is on {ifname}",
                f"take it off: {how_to_free(ifname)}",
            ) from error
        raise


def _remove(path: Path) -> None:
    """Take the program off, then remove all pins below; the kernel frees what nobody else holds."""
    if not path.is_dir():
        return
    xdp_link.detach(path / "link")
    for entry in path.iterdir():
        if entry.is_dir():
            _remove(entry)
        else:
            entry.unlink()
    path.rmdir()


def _sweep() -> None:
    """Remove what removed interfaces and namespaces have left behind."""
    for home in PINS.iterdir() if PINS.is_dir() else ():
        if not _ifindex_of_link(home):
            _remove(home)


def _ifindex_of_link(home: Path) -> int:
    """The number of the pinned link's interface; 0: no link, or its interface no longer exists."""
    link = xdp_link.info(home / "link")
    return link.ifindex if link else 0


def _homes() -> list[Path]:
    """The directories with the pins of this network namespace's interfaces."""
    return sorted(PINS.glob(f"{namespaces.cookie()}-*"))


def _home(ifname: str) -> Path:
    # bpffs refuses names with dots, as VLAN interfaces have them.
    return PINS / f"{namespaces.cookie()}-{ifname.replace('.', ',')}"


def _version(frags: bool) -> str:
    text = repr((program_text.unwrapper(), frags))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
