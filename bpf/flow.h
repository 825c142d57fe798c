/* SPDX-License-Identifier: GPL-2.0-only */
/* The flow table: an array of cache lines, each eight records of one word (see enum flow_state). It is
 * shared by all CPUs and has no lock. A record is only ever replaced by compare-and-swap of the word
 * that was read: a lost race leaves a flow with the record that another CPU gave it, or for this one
 * packet with none; never with half a record, never over another flow's.
 */
#ifndef XDPLB_FLOW_H
#define XDPLB_FLOW_H

#include "service.h"

#define FLOW_TAG_SHIFT 35
#define FLOW_STATE_SHIFT 32
#define FLOW_REAL_SHIFT 16
#define FLOW_SEEN_MASK ((__u64)(FLOW_STATES - 1) << FLOW_STATE_SHIFT | 0xffff)
#define TAG_NOT_EMPTY (1ULL << 63) /* in each tag, so that none is an empty word's */

struct flow {
	struct flow_bucket *bucket;
	const struct config *config;
	__u64 hash; /* low bits: bucket; top 29: tag. A foreign flow matches once in 2^25 lookups. */
	__u64 *entry; /* where its record is, or was before it expired; NULL: nowhere */
	__u64 record; /* as it was read */
	bool alive;   /* it has a record that is not expired */
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

/* Two rounds of multiply and fold, with secrets: for IPv4 a bijection of (client, ports), so that flows of one
 * service never hash alike, and the secret odd factor makes any two collide in a bucket by chance only
 * (multiply-shift: Dietzfelbinger et al., J. Algorithms 25, 1997). SipHash-1-3 took 14 ns more. The service's id
 * stands for the VIP and the protocol; with any-port services the port tells flows apart too.
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
	__u64 factor = config->flow_key[1] | 1; /* by an even one, the highest bits would be lost */

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

/* Notes that the recorded flow was seen: a write once a tick, or when its state changes. */
static __always_inline void touch_flow(const struct packet *p, const struct flow *flow)
{
	__u64 state = next_state(p, flow_state(flow->record));
	__u64 record =
		(flow->record & ~FLOW_SEEN_MASK) | state << FLOW_STATE_SHIFT | (p->tick & 0xffff);

	if (record != flow->record)
		__sync_val_compare_and_swap(flow->entry, flow->record, record);
}

/* 1 for a negative number, else 0; to multiply by, where a branch would be one too many: one for each of eight
 * records is 256 paths to the verifier, and two or three that the CPU guesses wrong (20 ns). The empty asm keeps
 * the compiler (LLVM 14) from making branches of it; an arithmetic shift has the verifier (6.18) fork all the same.
 */
static __always_inline __u64 sign_bit(__s64 number)
{
	__u64 sign = (__u64)number >> 63;

	asm volatile("" : "+r"(sign));
	return sign;
}

/* Its state's upper bits, with one above them set if it is expired. */
static __always_inline __u32 victim_kind(const struct config *config, __u64 record, __u32 tick)
{
	__u8 state = flow_state(record);
	__s64 left = (__s64)config->timeout[state] - 1 - record_age(record, tick);

	return state >> 1 | sign_bit(left) * (FLOW_STATES / 2);
}

/* Which record is given up: an expired or empty one, else a closing, else a new, else any; of its kind the
 * longest idle. So no flood of SYNs evicts a flow that got further than its SYN. The rank carries its way
 * along, so that one number is compared and kept; the first way ranks highest, as it is looked at first.
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

/* Where the flow's record goes. Records are never taken out, and a bucket fills from its first way on: if the last is
 * empty, there are as many as the first empty one's number.
 */
static __always_inline __u64 *pick_place(const struct flow *flow, __u32 tick)
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

/* Records that the flow, seen for the first time, goes to `real`; in place of its old record if it has
 * one. Another CPU may take the place between the choice and the swap; then the choice is made again.
 */
static __always_inline void record_flow(const struct packet *p, struct flow *flow, __u32 real)
{
	__u8 tcp = p->new_flow ? FLOW_NEW : FLOW_MIDSTREAM;
	__u8 state = p->protocol == IPPROTO_UDP ? FLOW_UDP_NEW : tcp;
	__u64 record = make_record(flow->hash, state, real, p->tick);

	for (int attempt = 0; attempt < 4; attempt++) {
		__u64 *place = pick_place(flow, p->tick);
		__u64 old = *place;

		if (__sync_val_compare_and_swap(place, old, record) == old)
			return;
		flow->entry = NULL;
	}
}

#endif
