/* SPDX-License-Identifier: GPL-2.0-only */
/* The flow table: an array of cache lines with eight records each; a record is one word (enum
 * flow_state). All CPUs share it, without locks. A record is only replaced by a compare-and-swap of
 * the word that was read. So a CPU that loses a race finds its flow with the record of another CPU,
 * or, for this one packet, without a record. It never finds half a record, and never overwrites a
 * record that it has not seen.
 */
#ifndef XDPLB_FLOW_H
#define XDPLB_FLOW_H

#include "service.h"

#define FLOW_TAG_SHIFT 35
#define FLOW_STATE_SHIFT 32
#define FLOW_REAL_SHIFT 16
#define FLOW_SEEN_MASK ((__u64)(FLOW_STATES - 1) << FLOW_STATE_SHIFT | 0xffff)
#define TAG_NOT_EMPTY (1ULL << 63) /* the top bit of each tag, so no record is 0 */

struct flow {
	struct flow_bucket *bucket;
	const struct config *config;
	__u64 hash; /* the low bits select the bucket, the top 29 are the tag: a foreign flow matches once in 2^25 lookups */
	__u64 *entry; /* its record, maybe expired; NULL: there is none */
	__u64 record; /* the record as it was read */
	bool alive;   /* the record exists and is not expired */
};

static __always_inline __u8 flow_state(__u64 record)
{
	return record >> FLOW_STATE_SHIFT & (FLOW_STATES - 1);
}

static __always_inline __u32 flow_real(__u64 record)
{
	return record >> FLOW_REAL_SHIFT & 0xffff;
}

static __always_inline __u64 make_record(__u64 hash, __u8 state, __u32 real, __u32 tick)
{
	return hash >> FLOW_TAG_SHIFT << FLOW_TAG_SHIFT | (__u64)state << FLOW_STATE_SHIFT |
	       real << FLOW_REAL_SHIFT | (tick & 0xffff);
}

static __always_inline __u16 record_age(__u64 record, __u32 tick)
{
	return tick - record;
}

static __always_inline bool is_expired(const struct config *config, __u64 record, __u32 tick)
{
	return record_age(record, tick) >= config->timeout[flow_state(record)];
}

/* Two rounds of multiply and fold, with secret numbers. For IPv4 this is a bijection of (client,
 * ports), so two flows of one service never have the same hash. The secret odd factor makes any two
 * flows collide in a bucket only by chance (multiply-shift: Dietzfelbinger et al., J. Algorithms
 * 25, 1997). SipHash-1-3 took 14 ns more. The service's id stands for VIP and protocol; the
 * service's port is hashed because an any-port service has many.
 */
static __always_inline __u64 fold_multiply(__u64 value, __u64 factor)
{
	value *= factor;
	return value ^ value >> 32;
}

static __always_inline __u64 hash_client(const struct packet *p, const struct config *config,
					 __u64 word, __u64 more)
{
	__u64 value = (p->client.low >> 32 << 32 | word) ^ config->flow_key[0];
	__u64 factor = config->flow_key[1] | 1; /* an even factor would lose the highest bits */

	if (is_ipv6(p)) {
		value ^= fold_multiply(p->client.high ^ factor, GOLDEN_RATIO_64);
		value = fold_multiply(value, factor) ^ (__u32)p->client.low;
	}
	value = fold_multiply(value, factor) + more;
	return fold_multiply(value, GOLDEN_RATIO_64) | TAG_NOT_EMPTY;
}

static __always_inline __u64 hash_flow(const struct packet *p, const struct config *config,
				       __u16 service)
{
	return hash_client(p, config, (__u64)p->client_port << 16 | p->service_port, service);
}

static __always_inline int find_flow(struct packet *p, __u16 service, struct flow *flow)
{
	__u64 index;

	flow->config = &p->director->config;
	flow->hash = hash_flow(p, flow->config, service);
	index = flow->hash & ((1 << FLOW_BUCKET_BITS) - 1);
	flow->bucket = NTH(flow_bucket, *(union flow_buckets *)VALUE(DIRECT_FLOWS), index);
	flow->entry = NULL;
	flow->record = 0;
	flow->alive = false;
#pragma unroll
	for (int way = 0; way < FLOW_WAYS; way++) {
		__u64 record = flow->bucket->entry[way];

		if ((record ^ flow->hash) >> FLOW_TAG_SHIFT == 0) {
			flow->entry = &flow->bucket->entry[way];
			flow->record = record;
			flow->alive = !is_expired(flow->config, record, p->tick);
			break;
		}
	}
	return NEXT;
}

static __always_inline __u8 next_state(const struct packet *p, __u8 state)
{
	if (p->protocol == IPPROTO_UDP)
		return FLOW_UDP;
	if (p->tcp_flags & (TCP_FIN | TCP_RST))
		return FLOW_CLOSING;
	if (state == FLOW_ESTABLISHED || state == FLOW_CLOSING || opens_connection(p))
		return state;
	return FLOW_ESTABLISHED;
}

/* Updates a record: once a tick, or when the flow's state changes. */
static __always_inline void touch_flow(const struct packet *p, const struct flow *flow)
{
	__u64 state = next_state(p, flow_state(flow->record));
	__u64 record =
		(flow->record & ~FLOW_SEEN_MASK) | state << FLOW_STATE_SHIFT | (p->tick & 0xffff);

	if (record != flow->record)
		__sync_val_compare_and_swap(flow->entry, flow->record, record);
}

/* Returns 1 for a negative number, else 0. The result is used as a factor, to avoid branches: a
 * branch for each of eight records means 256 paths for the verifier, and two or three
 * mispredictions (20 ns). The empty asm keeps the compiler (LLVM 14) from making a branch of it.
 * The verifier (6.18) treats an arithmetic shift like a branch, so the shift is logical.
 */
static __always_inline __u64 sign_bit(__s64 number)
{
	__u64 sign = (__u64)number >> 63;

	asm volatile("" : "+r"(sign));
	return sign;
}

/* The upper bits of the record's state; if it is expired, with one more bit set above them. */
static __always_inline __u32 victim_kind(const struct config *config, __u64 record, __u32 tick)
{
	__u8 state = flow_state(record);
	__s64 left = (__s64)config->timeout[state] - 1 - record_age(record, tick);

	return state >> 1 | sign_bit(left) * (FLOW_STATES / 2);
}

/* Picks the record to replace: an expired or empty one; else a closing or midstream one; else a new
 * one; else any. Among these, the one that was idle longest. So a flood of SYNs cannot replace an
 * established flow. The lowest bits of the rank are the way, so one number is compared and kept;
 * the first way ranks highest, because it is looked at first.
 */
static __always_inline __u64 *pick_victim(const struct flow *flow, __u32 tick)
{
	__s64 highest = 0;

#pragma unroll
	for (int way = 0; way < FLOW_WAYS; way++) {
		__u64 record = flow->bucket->entry[way];
		__u32 age = record_age(record, tick);
		__u32 kind = victim_kind(flow->config, record, tick);
		__s64 more = (__s64)(kind << 24 | age << 8 | (FLOW_WAYS - 1 - way)) - highest;

		highest += more * (1 - sign_bit(more));
	}
	return &flow->bucket->entry[FLOW_WAYS - 1 - (__u64)highest % FLOW_WAYS];
}

/* Picks the entry for the flow's record. Records are never removed, and a bucket fills from its
 * first way. So if its last way is empty, the number of records is the index of the first empty
 * way.
 */
static __always_inline __u64 *pick_entry(const struct flow *flow, __u32 tick)
{
	__u64 *entry = flow->bucket->entry, records = 0;

	if (flow->entry)
		return flow->entry;
	if (entry[FLOW_WAYS - 1])
		return pick_victim(flow, tick);
#pragma unroll
	for (int way = 0; way < FLOW_WAYS - 1; way++)
		records += entry[way] >> 63; /* TAG_NOT_EMPTY */
	return &entry[records % FLOW_WAYS];
}

/* Records that the flow goes to `real`, in place of its old record if it has one. If another CPU
 * takes the entry between the choice and the swap, the choice is repeated.
 */
static __always_inline void record_flow(const struct packet *p, struct flow *flow, __u32 real)
{
	__u8 tcp = p->new_flow ? FLOW_NEW : FLOW_MIDSTREAM;
	__u8 state = p->protocol == IPPROTO_UDP ? FLOW_UDP_NEW : tcp;
	__u64 record = make_record(flow->hash, state, real, p->tick);

	for (int attempt = 0; attempt < 4; attempt++) {
		__u64 *place = pick_entry(flow, p->tick);
		__u64 old = *place;

		if (__sync_val_compare_and_swap(place, old, record) == old)
			return;
		flow->entry = NULL;
	}
}

#endif
