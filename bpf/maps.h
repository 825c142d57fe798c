/* SPDX-License-Identifier: GPL-2.0-only */
/* Every table; the loader pins each by its own name. Arrays, but for what few packets ask: the kernel inlines
 * their lookups, and with BPF_F_MMAPABLE their values begin on a page, so that 64 bytes are one cache line (a
 * plain array's values begin 16 bytes past one).
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

/* The one value of such a table: a constant for the program (BPF_PSEUDO_MAP_VALUE, what global variables are
 * made of), where an inlined lookup is a dozen instructions that store, reload and compare a key. BCC has no
 * name for it: the loader puts the table in the place of its number.
 */
#define VALUE(number) ((void *)bpf_pseudo_fd(BPF_PSEUDO_MAP_VALUE, number))

/* All rings have the template's size: only then does the kernel inline lookups in them. */
ARRAY(struct slot, ring, RING_SLOTS);
BPF_F_TABLE("array_of_maps$ring", __u32, __u32, rings, MAX_SERVICES, 0);

/* Programs that take over packets of rare kinds, by enum kind: HAND_OVER() in verdict.h. */
BPF_F_TABLE("prog", __u32, __u32, programs, KINDS, 0);

/* The VLAN devices there are, by their interface numbers. */
BPF_F_TABLE("hash", __u32, struct vlan, vlans, MAX_VLANS, 0);

/* One more than Python ever puts there: up to Linux 6.12 a full trie refuses even what it has (ENOSPC). */
BPF_F_TABLE("lpm_trie", struct prefix, __u32, denied, MAX_DENIED + 1, BPF_F_NO_PREALLOC);

#endif
