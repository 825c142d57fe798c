/* SPDX-License-Identifier: GPL-2.0-only */
/* VIP → its number; (VIP's number, port, protocol) → service. Both tables hash a key to either of two
 * buckets of four (Azar et al., "Balanced Allocations", 1994): at the quarter load Python allows them,
 * one cache line answers nearly always, and a miss reads two. No helper is called.
 */
#ifndef XDPLB_SERVICE_H
#define XDPLB_SERVICE_H

#include "verdict.h"

#define GOLDEN_RATIO_64 0x9e3779b97f4a7c15ULL /* 2^64 / φ, made odd: Fibonacci hashing, Knuth 6.4 */

static __always_inline __u64 first_bucket(__u64 hash, int bits)
{
	return hash >> (64 - bits);
}

static __always_inline __u64 second_bucket(__u64 hash, int bits)
{
	return (hash >> (64 - 2 * bits)) & ((1 << bits) - 1);
}

static __always_inline bool find_vip_in(struct packet *p, __u64 index)
{
	struct vip_bucket *bucket = NTH(vip_bucket, p->director->vips, index);

#pragma unroll
	for (int way = 0; way < BUCKET_WAYS; way++) {
		if (bucket->vip[way].low == p->vip.low && bucket->vip[way].high == p->vip.high) {
			p->vip_id = index * BUCKET_WAYS + way;
			return true;
		}
	}
	return false;
}

static __always_inline int find_vip(struct packet *p)
{
	__u64 hash = (p->vip.high ^ p->vip.low) * GOLDEN_RATIO_64;

	if (find_vip_in(p, first_bucket(hash, VIP_BUCKET_BITS)) ||
	    find_vip_in(p, second_bucket(hash, VIP_BUCKET_BITS)))
		return NEXT;
	return is_icmp(p) && !p->rare ? HAND_OVER_RARE(p) : PASS(p, not_vip);
}

static __always_inline __u64 service_key(__u64 vip_id, __be16 port, __u8 protocol)
{
	return vip_id << 32 | (__u64)port << 16 | protocol;
}

union service_word {
	__u64 word;
	struct service service;
};

/* Returns the service by value, in one load: a pointer to it would have the verifier (6.18) walk all that
 * follows once for each way. An id is never 0, so a word of 0 is none.
 */
static __always_inline __u64 find_service_in(struct packet *p, __u64 index, __u64 key)
{
	struct service_bucket *bucket = NTH(service_bucket, p->director->services, index);

#pragma unroll
	for (int way = 0; way < BUCKET_WAYS; way++)
		if (bucket->entry[way].key == key)
			return *(volatile __u64 *)&bucket->entry[way].service;
	return 0;
}

static __always_inline __u64 find_service_of(struct packet *p, __be16 port)
{
	__u64 key = service_key(p->vip_id, port, p->protocol);
	__u64 hash = key * GOLDEN_RATIO_64, found;

	found = find_service_in(p, first_bucket(hash, SERVICE_BUCKET_BITS), key);
	if (!found)
		found = find_service_in(p, second_bucket(hash, SERVICE_BUCKET_BITS), key);
	return found;
}

/* The service on this very port, else the VIP's service for any port. */
static __always_inline int find_service(struct packet *p, struct service *service)
{
	union service_word found;

	found.word = find_service_of(p, p->service_port);
	if (!found.word)
		found.word = find_service_of(p, 0);
	if (!found.word)
		return PASS(p, no_service);
	*service = found.service;
	return NEXT;
}

#endif
