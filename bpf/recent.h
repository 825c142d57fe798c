/* SPDX-License-Identifier: GPL-2.0-only */
/* What is remembered for a while: tables of records of one word, in buckets of a cache line, as those of flows.
 *
 *	1 | tag | what is remembered | tick (16 bits)
 *
 * The bucket and the tag come from a keyed hash. Nobody locks: a record is written whole, and of two CPUs that write at
 * once one may lose its record, as if it had given way to another.
 */
#ifndef XDPLB_RECENT_H
#define XDPLB_RECENT_H

#include "flow.h"

/* Where a record with the hash's tag is, or else is to be written: over an empty or the oldest one. By ranks, without
 * branches, as pick_victim(). tag_shift: of the tag's lowest bit.
 */
static __always_inline volatile __u64 *find_place(struct flow_bucket *bucket, __u64 hash,
						  int tag_shift, __u32 tick)
{
	__s64 highest = 0;

#pragma unroll
	for (int way = 0; way < FLOW_WAYS; way++) {
		__u64 record = bucket->entry[way];
		__u64 differs = (record ^ hash) >> tag_shift, found, rank;
		__s64 more;

		asm volatile("" : "+r"(differs)); /* see sign_bit() */
		found = sign_bit((__s64)differs - 1);
		rank = found << 17 | (sign_bit(record) ^ 1) << 16 | record_age(record, tick);
		more = (__s64)(rank * FLOW_WAYS + (FLOW_WAYS - 1 - way)) - highest;
		highest += more * (1 - sign_bit(more));
	}
	return &bucket->entry[FLOW_WAYS - 1 - (__u64)highest % FLOW_WAYS];
}

/* Whether the record at its place has the tag, and is younger than so many ticks. */
static __always_inline bool is_recent(__u64 record, __u64 hash, int tag_shift, __u32 tick,
				      __u32 life)
{
	return (record ^ hash) >> tag_shift == 0 && record_age(record, tick) < life;
}

#endif
