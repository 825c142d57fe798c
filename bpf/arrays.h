/* SPDX-License-Identifier: GPL-2.0-only */
/* Arrays of structs in tables, and what the tables are made of. */
#ifndef XDPLB_ARRAYS_H
#define XDPLB_ARRAYS_H

#include "types.h"

/* An array that BCC takes for a string of bytes, which it describes by its first element: for each element of
 * an array of structs it would generate code to print it, and the compiler take 15 s over these. (The sizes have
 * names because BCC describes whatever types a length mentions, too.)
 */
#define MANY(type, count) \
	{ \
		struct type first; \
		char all[(count)*type##_size]; \
	}
#define NTH(type, many, index) (&((struct type *)(many).all)[index])

/* What MANY() asks for. */
enum {
	turn_size = sizeof(struct turn),
	limit_size = sizeof(struct limit),
	tally_size = sizeof(struct tally),
	vip_bucket_size = sizeof(struct vip_bucket),
	service_bucket_size = sizeof(struct service_bucket),
	flow_bucket_size = sizeof(struct flow_bucket),
	real_size = sizeof(struct real),
	stats_size = sizeof(struct stats),
	cpu_pad_words = 13 - COUNTERS % 8, /* behind the three before them; at least 6 */
};

/* What concerns the whole director. */
struct director {
	struct config config;
	union MANY(turn, MAX_SERVICES) turns;
	union MANY(vip_bucket, 1 << VIP_BUCKET_BITS) vips;
	union MANY(service_bucket, 1 << SERVICE_BUCKET_BITS) services;
	union MANY(limit, MAX_SERVICES) limits;
};

/* What one CPU writes, and Python sums up. Of whole cache lines, so that no two CPUs share one (with an even MAX_REALS). */
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
union all_cpus MANY(cpu, CPUS);
union all_sources MANY(tally, 1 << SOURCE_BITS);
union all_fragments MANY(flow_bucket, 1 << FRAGMENT_BUCKET_BITS);
union all_paths MANY(flow_bucket, 1 << PATH_BUCKET_BITS);

#endif
