# SPDX-License-Identifier: MIT
"""SipHash-1-3 of one 32-bit word, cut to 32 bits: the kernel's hsiphash on 64-bit machines.

Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012); lib/siphash.c and
include/linux/siphash.h. Kernels on 32-bit machines use HalfSipHash: they choose other reals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Words = TypeVar("Words", int, "NDArray[np.uint64]")
Key = tuple[int, int]

M64 = 0xFFFF_FFFF_FFFF_FFFF
M32 = 0xFFFF_FFFF


def hsiphash_1u32(word: Words, key: Key) -> Words:
    """Hash one word of 32 bits, or an array of them (as uint64) at once."""
    v0 = 0x736F6D6570736575 ^ key[0]  # "somepseudorandomlygeneratedbytes"
    v1 = 0x646F72616E646F6D ^ key[1]
    v2 = 0x6C7967656E657261 ^ key[0]
    v3 = 0x7465646279746573 ^ key[1]
    last = (4 << 56) | word  # the input's length in bytes tops the last block
    v0, v1, v2, v3 = _round(v0, v1, v2, v3 ^ last)
    v0 ^= last
    v2 ^= 0xFF
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    hashed: Words = (v0 ^ v1 ^ v2 ^ v3) & M32
    return hashed


def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> tuple[Any, Any, Any, Any]:
    """One SipRound, of ints or of uint64 arrays (which wrap on overflow)."""
    v0 = (v0 + v1) & M64
    v1 = _rotate(v1, 13) ^ v0
    v0 = _rotate(v0, 32)
    v2 = (v2 + v3) & M64
    v3 = _rotate(v3, 16) ^ v2
    v0 = (v0 + v3) & M64
    v3 = _rotate(v3, 21) ^ v0
    v2 = (v2 + v1) & M64
    v1 = _rotate(v1, 17) ^ v2
    v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


def _rotate(word: Any, bits: int) -> Any:
    return ((word << bits) | (word >> (64 - bits))) & M64
