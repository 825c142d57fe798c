/* SPDX-License-Identifier: GPL-2.0-only */
/* All tables. The loader pins each under its own name. Tables that each packet needs
 * are arrays, because the kernel inlines array lookups. With BPF_F_MMAPABLE an array's values begin
 * on a page, so 64 bytes are one cache line; in a plain array they begin 16 bytes behind one.
 */
#ifndef XDPLB_MAPS_H
#define XDPLB_MAPS_H

#include "arrays.h"

#define ARRAY(leaf, name, size) BPF_F_TABLE("array", __u32, leaf, name, size, BPF_F_MMAPABLE)

ARRAY(struct director, director, 1);
ARRAY(union flow_buckets, flows, 1);
ARRAY(union all_reals, reals, 1);
ARRAY(union all_cpus, cpus, 1);
ARRAY(union all_sources, sources, 1);
ARRAY(union all_fragments, fragments, 1);
ARRAY(union all_paths, paths, 1);

/* The address of a table's only value. For the program it is a constant (BPF_PSEUDO_MAP_VALUE,
 * which is also how global variables are addressed). An inlined lookup would cost a dozen
 * instructions that store, reload and compare a key. BCC does not support this: the program
 * contains a number (enum direct), and the loader replaces it by the table.
 */
#define VALUE(number) ((void *)bpf_pseudo_fd(BPF_PSEUDO_MAP_VALUE, number))

/* All rings have the template's size. Otherwise the kernel would not inline lookups in them. */
ARRAY(struct slot, ring, RING_SLOTS);
BPF_F_TABLE("array_of_maps$ring", __u32, __u32, rings, MAX_SERVICES, 0);

/* The programs for rare packets, by enum kind: see HAND_OVER() in verdict.h. */
BPF_F_TABLE("prog", __u32, __u32, programs, KINDS, 0);

/* The VLAN devices, by interface number. */
BPF_F_TABLE("hash", __u32, struct vlan, vlans, MAX_VLANS, 0);

/* One entry more than Python ever uses: up to Linux 6.12, a full trie refuses even a prefix that it
 * already has (ENOSPC).
 */
BPF_F_TABLE("lpm_trie", struct prefix, __u32, denied, MAX_DENIED + 1, BPF_F_NO_PREALLOC);

#endif
