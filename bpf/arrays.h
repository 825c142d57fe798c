/* SPDX-License-Identifier: GPL-2.0-only */
/* Arrays of structs, and the tables' values that are made of them. */
#ifndef XDPLB_ARRAYS_H
#define XDPLB_ARRAYS_H

#include "types.h"

/* An array of structs that BCC treats as a string of bytes; `first` is only there so that BCC
 * describes the element. For a real array of structs, BCC generates code that prints each element,
 * and the compiler needs 15 s for it. (BCC also describes every type that a length mentions. So the
 * sizes have names of their own.)
 */
#define MANY(type, count) \
	{ \
		struct type first; \
		char all[(count)*type##_size]; \
	}
#define NTH(type, many, index) (&((struct type *)(many).all)[index])

/* Sizes for MANY(). */
enum {
	turn_size = sizeof(struct turn),
	limit_size = sizeof(struct limit),
	tally_size = sizeof(struct tally),
	vip_bucket_size = sizeof(struct vip_bucket),
	service_bucket_size = sizeof(struct service_bucket),
	flow_bucket_size = sizeof(struct flow_bucket),
	real_size = sizeof(struct real),
	stats_size = sizeof(struct stats),
	cpu_pad_words = 13 - COUNTERS % 8, /* fills up the cache line, with at least 6 words */
};

/* What concerns the whole director. */
struct director {
	struct config config;
	union MANY(turn, MAX_SERVICES) turns;
	union MANY(vip_bucket, 1 << VIP_BUCKET_BITS) vips;
	union MANY(service_bucket, 1 << SERVICE_BUCKET_BITS) services;
	union MANY(limit, MAX_SERVICES) limits;
};

/* What one CPU writes; Python adds the CPUs up. The size is a multiple of a cache line if MAX_REALS
 * is even, so no two CPUs write to the same line.
 */
struct cpu {
	struct counters counters;
	struct reply_limit reply_limit;
	struct reselection reselection;
	__u64 pad_lines[cpu_pad_words];
	union MANY(stats, MAX_REALS) stats;
};

enum { cpu_size = sizeof(struct cpu) };

union flow_buckets MANY(flow_bucket, 1 << FLOW_BUCKET_BITS);
union all_reals MANY(real, MAX_REALS);
/* One more than there are: Python keeps there what to subtract (`xdplb zero`). */
union all_cpus MANY(cpu, CPUS + 1);
union all_sources MANY(tally, 1 << SOURCE_BITS);
union all_fragments MANY(flow_bucket, 1 << FRAGMENT_BUCKET_BITS);
union all_paths MANY(flow_bucket, 1 << PATH_BUCKET_BITS);

#endif
