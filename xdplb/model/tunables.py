# SPDX-License-Identifier: MIT
"""The sizes of the tables, and their bounds."""

from dataclasses import dataclass

from xdplb.errors import UsageError

MAX_REALS = 65536  # a slot and a flow's record have 16 bits for a real's index (bpf/types.h)
MAX_FLOW_BUCKET_BITS = 23  # 512 MB: the verifier's limit of an offset (BPF_MAX_VAR_OFF)
MAX_SOURCE_BITS = 26  # 512 MB, for the same reason
MAX_DENIED = 1 << 20  # prefixes: every command reads all of them


@dataclass(frozen=True)
class Tunables:
    """Sizes of the tables. They reach C as `-DNAME=value`, with the name in upper case."""

    max_vips: int = 1024
    max_services: int = 1024
    max_reals: int = 65536
    ring_slots: int = 4093  # a prime of ip_vs_mh.c: CONFIG_IP_VS_MH_TAB_INDEX 12
    flow_buckets: int = 1 << 20  # each has 8 flows, 64 bytes
    max_denied: int = 65536
    fragment_buckets: int = 1 << 14  # each has 8 packets that come in fragments, 64 bytes
    source_tallies: int = 1 << 20  # 8 bytes each; sources that share one share its limit


def check_tunables(tunables: Tunables) -> None:
    """Check all sizes. Raises: UsageError naming the first one that is not allowed."""
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
