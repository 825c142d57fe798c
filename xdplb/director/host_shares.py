# SPDX-License-Identifier: MIT
"""What the instances of one network namespace share: sysctls and VIPs' addresses.

Each has holders. The first holder changes the host, and the last one puts it back. Who holds what
is in /run/xdplb/shared.json (shared@<cookie>.json elsewhere). It is written before the host is
changed, so that nothing is forgotten if a command is killed between the two. Each instance pins a
copy beside its tables: if the file is lost, the copies tell.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

from xdplb.director import files
from xdplb.director.instance import RUN, Instance
from xdplb.errors import KernelRefused, XdplbError
from xdplb.host import addresses, directories, interfaces, locks, sysctls
from xdplb.kernel import pinned_bytes
from xdplb.model.address import Address, parse_address

# The program asks the FIB on behalf of lo, which has to forward for that.
FORWARDING = ("net/ipv4/conf/lo/forwarding", "net/ipv6/conf/lo/forwarding")
ROUTER_ADVERTISEMENTS = "net/ipv6/conf/*/accept_ra"
KEEP_ROUTES = "2"  # of accept_ra: also where the interface forwards


@dataclass
class _Shares:
    """sysctls: what they were before the first holder. holders: of the sysctls. addresses: by VIP,
    the device and its holders. passing: sysctls that are different only for a moment, with what
    they were.
    """

    sysctls: dict[str, str] = field(default_factory=dict)
    holders: list[str] = field(default_factory=list)
    addresses: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    passing: dict[str, str] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not (self.holders or self.addresses or self.passing)


def _decode(content: bytes | None) -> _Shares | None:
    """What a file or a copy says; None if there is none, or it is damaged."""
    try:
        raw = json.loads(content or b"")
        shares = _Shares(
            _texts(raw["sysctls"]),
            list(map(_text, raw["holders"])),
            {
                str(parse_address(_text(vip))): (_text(device), list(map(_text, names)))
                for vip, (device, names) in raw["addresses"].items()
            },
            _texts(raw["passing"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, XdplbError):
        return None
    return shares


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _texts(value: Mapping[str, str]) -> dict[str, str]:
    return {_text(name): _text(each) for name, each in value.items()}


class HostShares:
    """One instance's view of what is shared."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._name = instance.name
        self._path = instance.shares

    def held_addresses(self) -> dict[str, str]:
        """The VIPs whose addresses xdplb added and this instance holds, with their devices."""
        held = self._read().addresses
        return {vip: device for vip, (device, names) in held.items() if self._name in names}

    def encoded(self) -> bytes:
        """The content of the copy."""
        return json.dumps(asdict(self._read())).encode()

    def hold_forwarding(self) -> None:
        """Let lo forward in both families, as far as the kernel has them. Raises: KernelRefused."""
        with self._changing() as shares:
            for path in filter(sysctls.exists, FORWARDING):
                shares.sysctls.setdefault(path, sysctls.read(path))
            if self._name not in shares.holders:
                shares.holders.append(self._name)
            self._write(shares)
            for path in shares.sysctls:
                self._set(shares, path, "1")

    def release_forwarding(self) -> None:
        """Put back what was there before, unless another instance needs it."""
        with self._changing() as shares:
            left = [name for name in shares.holders if name != self._name]
            if not left:
                for path, before in shares.sysctls.items():
                    self._set(shares, path, before)
                shares.sysctls = {}
            shares.holders = left

    def hold_addresses(self, wanted: Mapping[Address, str], default: str) -> list[Address]:
        """Have these VIPs on their interfaces; "" is the default one, or where xdplb put it before.

        An address that an interface had before xdplb stays as it is. Returns: those that are new.
        Raises: KernelRefused.
        """
        with self._changing() as shares:
            here, added = addresses.local_addresses(), []
            for vip, device in wanted.items():
                known, names = shares.addresses.get(str(vip), ("", []))
                if vip in here and not known:
                    continue
                moves = bool(known and device and device != known) and names == [self._name]
                if known and not interfaces.exists(known):  # the address went with it
                    moves = True
                place = (device or default) if moves else known or device or default
                shares.addresses[str(vip)] = (place, sorted({*names, self._name}))
                if vip not in here or moves:
                    added.append((vip, place, known if moves else ""))
            self._write(shares)
            for vip, place, old in added:
                if old:
                    with suppress(KernelRefused):  # somebody took it off already
                        addresses.set_address("delete", old, vip)
                try:
                    addresses.set_address("add", place, vip)
                except KernelRefused:
                    del shares.addresses[str(vip)]
                    raise
            return [vip for vip, _, _ in added]

    def release_address(self, vip: Address) -> None:
        """Take a VIP off again, unless another instance holds it or it was there before."""
        with self._changing() as shares:
            device, names = shares.addresses.get(str(vip), ("", []))
            left = [name for name in names if name != self._name]
            if device and not left:
                with suppress(KernelRefused):  # somebody took it off already
                    addresses.set_address("delete", device, vip)
                del shares.addresses[str(vip)]
            elif device:
                shares.addresses[str(vip)] = (device, left)

    def _set(self, shares: _Shares, path: str, value: str) -> None:
        """Set a sysctl, and lose no route that a router advertised.

        A write of 1 to IPv6's forwarding has the kernel forget all such routes, but for interfaces
        with accept_ra 2: rt6_purge_dflt_routers() in net/ipv6/route.c. So all have that for a
        moment.
        """
        if sysctls.read(path) == value:
            return
        if "ipv6" in path:
            told = {each: sysctls.read(each) for each in sysctls.matching(ROUTER_ADVERTISEMENTS)}
            shares.passing = {each: old for each, old in told.items() if old != KEEP_ROUTES}
            self._write(shares)
            for each in shares.passing:
                sysctls.write(each, KEEP_ROUTES)
        sysctls.write(path, value)
        self._end_passing(shares)

    @staticmethod
    def _end_passing(shares: _Shares) -> None:
        for path, before in shares.passing.items():
            if sysctls.exists(path):
                sysctls.write(path, before)
        shares.passing = {}

    @contextmanager
    def _changing(self) -> Iterator[_Shares]:
        directories.make(RUN, 0o755)
        with locks.locked(self._path.with_suffix(".lock")):
            shares = self._read()
            self._end_passing(shares)  # of a command that was killed
            try:
                yield shares
            finally:
                if shares.is_empty():
                    self._path.unlink(missing_ok=True)
                else:
                    self._write(shares)

    def _read(self) -> _Shares:
        return _decode(files.read_bytes(self._path)) or self._read_copies()

    def _read_copies(self) -> _Shares:
        """The file is gone, or damaged: each attached instance has a copy of what it holds."""
        shares = _Shares()
        for each in (self._instance, *self._instance.others()):
            copy = _decode(pinned_bytes.load(each.shares_copy))
            if copy is not None and each.name in copy.holders:
                shares.sysctls |= copy.sysctls
                shares.holders.append(each.name)
                for vip, (device, names) in copy.addresses.items():
                    known = shares.addresses.get(vip, (device, []))[1]
                    if each.name in names:
                        shares.addresses[vip] = (device, [*known, each.name])
        return shares

    def _write(self, shares: _Shares) -> None:
        files.write_json(self._path, asdict(shares))
