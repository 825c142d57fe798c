/* SPDX-License-Identifier: GPL-2.0-only */
/* Records with a limited lifetime. As in the flow table, a record is one word and a bucket is one
 * cache line:
 *
 *	1 | tag | value | tick (16 bits)
 *
 * Bucket and tag come from a keyed hash. There are no locks: a record is written as one word. If
 * two CPUs write to the same entry at the same time, one of the records is lost, as if it had been
 * replaced.
 */
#ifndef XDPLB_TIMED_RECORD_H
#define XDPLB_TIMED_RECORD_H

#include "flow.h"

/* Finds the record that has the hash's tag or, if there is none, the entry to write it to: an empty
 * one, or the oldest. It computes ranks without branches, as pick_victim() does. `tag_shift`: the
 * position of the tag's lowest bit.
 */
static __always_inline volatile __u64 *find_timed_record(struct flow_bucket *bucket, __u64 hash,
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

/* Whether the record has the tag, and is younger than `life` ticks. */
static __always_inline bool is_fresh(__u64 record, __u64 hash, int tag_shift, __u32 tick,
				     __u32 life)
{
	return (record ^ hash) >> tag_shift == 0 && record_age(record, tick) < life;
}

#endif
