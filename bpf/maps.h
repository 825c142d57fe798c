/* SPDX-License-Identifier: GPL-2.0-only */
/* Every table, each pinned under PIN by its own name. Arrays only: the kernel inlines their lookups,
 * and with BPF_F_MMAPABLE their values begin on a page, so that a 64-byte value is one cache line
 * (a plain array's values begin 16 bytes past one).
 */
#ifndef XDPLB_MAPS_H
#define XDPLB_MAPS_H

#include "types.h"

#define ARRAY(leaf, name, size) \
	BPF_F_TABLE("array:" PIN "/" #name, __u32, leaf, name, size, BPF_F_MMAPABLE)
#define PER_CPU(leaf, name, size) \
	BPF_F_TABLE("percpu_array:" PIN "/" #name, __u32, leaf, name, size, 0)

ARRAY(struct director, director, 1);
ARRAY(struct real, reals, MAX_REALS);
ARRAY(struct flow_bucket, flows, 1 << FLOW_BUCKET_BITS);

/* All rings have the template's size: only then does the kernel inline lookups in them. */
ARRAY(struct slot, ring, RING_SLOTS);
BPF_F_TABLE("array_of_maps$ring:" PIN "/rings", __u32, __u32, rings, MAX_SERVICES, 0);

PER_CPU(struct counters, counters, 1);
PER_CPU(struct stats, real_stats, MAX_REALS);
PER_CPU(struct reply_limit, reply_limits, 1);

#endif
