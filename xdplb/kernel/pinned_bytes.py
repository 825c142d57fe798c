# SPDX-License-Identifier: MIT
"""Bytes that live in bpffs, which takes no plain files: the one value of a pinned array."""

import ctypes
import mmap
import os
from pathlib import Path

from xdplb.errors import KernelRefused
from xdplb.kernel import libbpf, pins

_LENGTH = 8  # bytes before the content, which say how long it is


def save(path: Path, content: bytes) -> None:
    """Replace what is pinned at `path`, at once. Raises: KernelRefused, NoPermission."""
    size = _LENGTH + len(content)
    fd = libbpf.map_create("bytes", libbpf.MAP_TYPE_ARRAY, 4, size, 1, libbpf.BPF_F_MMAPABLE)
    new = path.with_name(f"{path.name}_new")
    try:
        with mmap.mmap(fd, _pages(size)) as memory:
            memory[:size] = len(content).to_bytes(_LENGTH, "little") + content
        new.unlink(missing_ok=True)
        libbpf.obj_pin(fd, new)
        new.rename(path)
    finally:
        os.close(fd)


def load(path: Path) -> bytes | None:
    """What save() pinned there; None if there is nothing of the kind."""
    try:
        with pins.opened(path) as fd:
            size = libbpf.map_info(fd).value_size
            value = ctypes.create_string_buffer(size)
            if size < _LENGTH or not libbpf.map_lookup(fd, ctypes.c_uint32(0), value):
                return None
    except KernelRefused:
        return None
    length = int.from_bytes(value.raw[:_LENGTH], "little")
    return value.raw[_LENGTH : _LENGTH + length] if length <= size - _LENGTH else None


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
