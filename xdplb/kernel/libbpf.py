# SPDX-License-Identifier: MIT
"""The bpf() system call through libbpf.so.1: what BCC lacks, and what needs no compiler.

All functions raise KernelRefused (with its errno) or NoPermission unless they say otherwise.
File descriptors are plain ints. The caller owns and closes them.
"""

import ctypes
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from xdplb.errors import KernelRefused, MissingPart, NoPermission

MAP_TYPE_ARRAY = 2  # enum bpf_map_type
PROG_TYPE_XDP = 6  # this and the following: include/uapi/linux/bpf.h
ATTACH_XDP = 37
XDP_FLAGS_SKB_MODE = 1 << 1
XDP_FLAGS_DRV_MODE = 1 << 2
BPF_F_TEST_XDP_LIVE_FRAMES = 1 << 1
BPF_F_XDP_HAS_FRAGS = 1 << 5
BPF_F_MMAPABLE = 1 << 10

LOAD_IMMEDIATE_64 = 0x18  # BPF_LD | BPF_DW | BPF_IMM
PSEUDO_MAP_FD = 1  # what an instruction names a table by: its descriptor, or its first value
PSEUDO_MAP_VALUE = 2
VERIFIER_LOG = 1 << 24  # bytes

XDP_ACTIONS = ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT")


@cache
def _lib() -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise MissingPart("libbpf.so.1 is not installed", "run: apt-get install libbpf1") from error
    lib.libbpf_set_print(None)
    return lib


def _check(result: int, what: str) -> int:
    """Raise on failure. Libbpf 1.x returns -errno; a few functions return -1 and set errno."""
    if result >= 0:
        return result
    number = -result if result < -1 else ctypes.get_errno() or errno.EPERM
    if number in (errno.EPERM, errno.EACCES):
        raise NoPermission(f"{what}: {os.strerror(number)}", "run it as root")
    error = KernelRefused(f"{what}: {os.strerror(number)}")
    error.errno = number
    raise error


class Instruction(ctypes.Structure):
    """struct bpf_insn."""

    _fields_ = (
        ("code", ctypes.c_uint8),
        ("destination", ctypes.c_uint8, 4),
        ("source", ctypes.c_uint8, 4),
        ("offset", ctypes.c_int16),
        ("immediate", ctypes.c_int32),
    )


# ---- objects ---------------------------------------------------------------------------------


def obj_get(path: Path) -> int:
    """Opens what is pinned at `path`."""
    return _check(_lib().bpf_obj_get(os.fsencode(path)), f"cannot open {path}")


def obj_pin(fd: int, path: Path) -> None:
    """Pins an object, so that it outlives its file descriptors."""
    _check(_lib().bpf_obj_pin(fd, os.fsencode(path)), f"cannot pin {path}")


class _MapInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("name", ctypes.c_char * 16),
        ("ifindex", ctypes.c_uint32),
        ("btf_vmlinux_value_type_id", ctypes.c_uint32),
        ("netns_dev", ctypes.c_uint64),
        ("netns_ino", ctypes.c_uint64),
    )


class _ProgInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_prog_len", ctypes.c_uint32),
        ("xlated_prog_len", ctypes.c_uint32),
        ("others", ctypes.c_uint64 * 24),
        ("verified_insns", ctypes.c_uint32),
        ("attach_btf_obj_id", ctypes.c_uint32),
    )


class _LinkInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("prog_id", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("ifindex", ctypes.c_uint32),
        ("pad2", ctypes.c_uint32 * 11),
    )


def _info(fd: int, info: Any) -> Any:
    size = ctypes.c_uint32(ctypes.sizeof(info))
    _check(
        _lib().bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)),
        f"cannot read what descriptor {fd} is",
    )
    return info


def map_info(fd: int) -> Any:
    """A map's struct bpf_map_info, its first fields."""
    return _info(fd, _MapInfo())


def prog_info(fd: int) -> Any:
    """A program's struct bpf_prog_info, its first fields."""
    return _info(fd, _ProgInfo())


def link_info(fd: int) -> Any:
    """A link's struct bpf_link_info of an XDP link."""
    return _info(fd, _LinkInfo())


# ---- maps ------------------------------------------------------------------------------------


class _MapCreateOpts(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("btf_fd", ctypes.c_uint32),
        ("btf_key_type_id", ctypes.c_uint32),
        ("btf_value_type_id", ctypes.c_uint32),
        ("btf_vmlinux_value_type_id", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("map_extra", ctypes.c_uint64),
        ("numa_node", ctypes.c_uint32),
        ("map_ifindex", ctypes.c_uint32),
    )


def map_create(
    name: str, kind: int, key_size: int, value_size: int, entries: int, flags: int, **more: int
) -> int:
    """A new map. kind: enum bpf_map_type; more: other fields of struct bpf_map_create_opts."""
    opts = _MapCreateOpts(sz=ctypes.sizeof(_MapCreateOpts), map_flags=flags, **more)
    return _check(
        _lib().bpf_map_create(
            kind, name.encode(), key_size, value_size, entries, ctypes.byref(opts)
        ),
        f"cannot create map {name}",
    )


def map_create_like(template: int, name: str) -> int:
    """A new map with the template's type, sizes and flags, so that it can replace it."""
    like = map_info(template)
    sizes = like.key_size, like.value_size, like.max_entries
    return map_create(name, like.type, *sizes, like.map_flags)


def map_update(fd: int, key: Any, value: Any) -> None:
    """Writes one element; key and value are ctypes objects (or buffers) of the map's sizes."""
    _check(
        _lib().bpf_map_update_elem(fd, ctypes.byref(key), ctypes.byref(value), ctypes.c_uint64(0)),
        "cannot update a map",
    )


def map_update_batch(fd: int, keys: Any, values: Any) -> None:
    """Writes all elements of the ctypes arrays. A map of maps waits only once (some ms)."""
    count = ctypes.c_uint32(len(keys))
    _check(
        _lib().bpf_map_update_batch(
            fd, ctypes.byref(keys), ctypes.byref(values), ctypes.byref(count), None
        ),
        "cannot update a map",
    )


def map_lookup(fd: int, key: Any, value: Any) -> bool:
    """Reads one element into `value`. Returns: whether there is one."""
    result = _lib().bpf_map_lookup_elem(fd, ctypes.byref(key), ctypes.byref(value))
    if result < 0 and (-result if result < -1 else ctypes.get_errno()) == errno.ENOENT:
        return False
    _check(result, "cannot read a map")
    return True


def map_delete(fd: int, key: Any) -> None:
    """Deletes one element; no error if the map does not have it."""
    result = _lib().bpf_map_delete_elem(fd, ctypes.byref(key))
    if result < 0 and (-result if result < -1 else ctypes.get_errno()) != errno.ENOENT:
        _check(result, "cannot delete from a map")


def map_keys(fd: int, key_size: int) -> list[bytes]:
    """All keys of a map that is not an array. Units: key_size in bytes."""
    keys: list[bytes] = []
    key, following = None, ctypes.create_string_buffer(key_size)
    while (result := _lib().bpf_map_get_next_key(fd, key, following)) >= 0:
        keys.append(following.raw)
        key = ctypes.create_string_buffer(following.raw, key_size)
    if (-result if result < -1 else ctypes.get_errno()) != errno.ENOENT:
        _check(result, "cannot list a map's keys")
    return keys


def map_get_fd_by_id(map_id: int) -> int:
    """Opens a map by its id. An outer map gives the ids of its inner maps."""
    return _check(_lib().bpf_map_get_fd_by_id(ctypes.c_uint32(map_id)), f"cannot open map {map_id}")


# ---- programs and links ----------------------------------------------------------------------


def prog_get_fd_by_id(prog_id: int) -> int:
    """Opens a program by its id. A program array gives the ids of its programs."""
    return _check(
        _lib().bpf_prog_get_fd_by_id(ctypes.c_uint32(prog_id)), f"cannot open program {prog_id}"
    )


class _ProgLoadOpts(ctypes.Structure):
    """struct bpf_prog_load_opts; only the fields used here have names."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("others", ctypes.c_uint32 * 3),
        ("prog_flags", ctypes.c_uint32),
        ("more", ctypes.c_uint32 * 16),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_void_p),
    )


def prog_load(instructions: bytes, name: str = "xdp_pass", *, frags: bool = False) -> int:
    """Loads an XDP program from raw instructions (8 bytes each).

    frags: it takes frames of several buffers. Raises: KernelRefused, with the verifier's log.
    """
    opts = _ProgLoadOpts(
        sz=ctypes.sizeof(_ProgLoadOpts), prog_flags=BPF_F_XDP_HAS_FRAGS if frags else 0
    )
    program = PROG_TYPE_XDP, name.encode(), b"GPL", instructions, len(instructions) // 8
    what = f"cannot load program {name}"
    if (result := _lib().bpf_prog_load(*program, ctypes.byref(opts))) >= 0:
        return int(result)
    log = ctypes.create_string_buffer(VERIFIER_LOG)
    opts.log_level, opts.log_size, opts.log_buf = 1, len(log), ctypes.addressof(log)
    result = _lib().bpf_prog_load(*program, ctypes.byref(opts))
    if result < 0 and log.value:  # the verifier's EACCES does not mean missing permissions
        raise KernelRefused(f"{what}:\n{log.value.decode(errors='replace')}")
    return _check(result, what)


class _LinkCreateOpts(ctypes.Structure):
    _fields_ = (("sz", ctypes.c_size_t), ("flags", ctypes.c_uint32), ("pad", ctypes.c_uint32 * 16))


def link_create(prog_fd: int, ifindex: int, flags: int) -> int:
    """Attaches an XDP program to an interface. flags: XDP_FLAGS_*. Returns: the link."""
    opts = _LinkCreateOpts(sz=ctypes.sizeof(_LinkCreateOpts), flags=flags)
    return _check(
        _lib().bpf_link_create(prog_fd, ifindex, ATTACH_XDP, ctypes.byref(opts)),
        f"cannot attach to interface {ifindex}",
    )


def link_update(link_fd: int, prog_fd: int) -> None:
    """Replaces a link's program. Every packet meets the old one or the new one."""
    _check(_lib().bpf_link_update(link_fd, prog_fd, None), "cannot replace the program")


def links() -> list[Any]:
    """Each link's struct bpf_link_info, of all links on this machine."""
    found, link_id = [], ctypes.c_uint32(0)
    while _lib().bpf_link_get_next_id(link_id, ctypes.byref(link_id)) == 0:
        if (fd := _lib().bpf_link_get_fd_by_id(link_id)) >= 0:  # else it has gone since
            found.append(link_info(fd))
            os.close(fd)
    return found


def link_detach(link_fd: int) -> None:
    """Takes the program off the interface, even if others hold the link open."""
    _check(_lib().bpf_link_detach(link_fd), "cannot detach the program")


# ---- test runs -------------------------------------------------------------------------------


class _XdpMd(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_uint32),
        ("data_end", ctypes.c_uint32),
        ("data_meta", ctypes.c_uint32),
        ("ingress_ifindex", ctypes.c_uint32),
        ("rx_queue_index", ctypes.c_uint32),
        ("egress_ifindex", ctypes.c_uint32),
    )


class _TestRunOpts(ctypes.Structure):
    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


@dataclass(frozen=True)
class TestRun:
    """The result of a program's run on a frame; `ns` is the mean time of one repeat."""

    __test__ = False  # pytest would take it for a test by its name

    action: int
    frame: bytes
    ns: int


def prog_test_run(
    fd: int, frame: bytes, *, ifindex: int = 0, repeat: int = 1, live: bool = False
) -> TestRun:
    """Runs an XDP program on a frame (BPF_PROG_TEST_RUN) in this network namespace.

    ifindex: where the frame seems to come from; 0: loopback. live: the kernel really sends the
    frames as the program says (BPF_F_TEST_XDP_LIVE_FRAMES).
    """
    out = ctypes.create_string_buffer(0 if live else 65536 + 256)
    data = ctypes.create_string_buffer(frame, len(frame))
    ctx = _XdpMd(data_end=len(frame), ingress_ifindex=ifindex)
    opts = _TestRunOpts(
        sz=ctypes.sizeof(_TestRunOpts),
        data_in=ctypes.cast(data, ctypes.c_void_p),
        data_size_in=len(frame),
        repeat=repeat,
        flags=BPF_F_TEST_XDP_LIVE_FRAMES if live else 0,
    )
    if not live:
        opts.data_out = ctypes.cast(out, ctypes.c_void_p)
        opts.data_size_out = len(out)
    if ifindex:
        opts.ctx_in = ctypes.cast(ctypes.pointer(ctx), ctypes.c_void_p)
        opts.ctx_size_in = ctypes.sizeof(ctx)
    _check(_lib().bpf_prog_test_run_opts(fd, ctypes.byref(opts)), "the program does not run")
    return TestRun(opts.retval, out.raw[: opts.data_size_out], opts.duration)


def possible_cpus() -> int:
    """How many values a per-CPU map has for one key."""
    return _check(_lib().libbpf_num_possible_cpus(), "cannot count the CPUs")


def read_per_cpu(fd: int, index: int, value_size: int) -> Sequence[bytes]:
    """All CPUs' values of one element of a per-CPU array; value_size in bytes, a multiple of 8."""
    buffer = ctypes.create_string_buffer(value_size * possible_cpus())
    map_lookup(fd, ctypes.c_uint32(index), buffer)
    return [buffer.raw[i : i + value_size] for i in range(0, len(buffer), value_size)]
