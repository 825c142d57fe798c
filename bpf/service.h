/* SPDX-License-Identifier: GPL-2.0-only */
/* Finds the number of a VIP, and the service of (VIP's number, port, protocol). Both tables hash a
 * key to two buckets of four entries each (Azar et al., "Balanced Allocations", 1994). Python fills
 * at most a quarter of the entries, so nearly every key is in its first bucket, which is one cache
 * line. A miss reads two lines. No helper is called.
 */
#ifndef XDPLB_SERVICE_H
#define XDPLB_SERVICE_H

#include "verdict.h"

#define GOLDEN_RATIO_64 \
	0x9e3779b97f4a7c15ULL /* 2^64 / φ, rounded to an odd number: Fibonacci hashing, Knuth 6.4 */

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

/* Returns the service by value, in one load. With a pointer, the verifier (6.18) would walk the
 * rest of the program once for each entry. A service's id is never 0, so the word 0 means no
 * service.
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

static __always_inline __u64 find_service_on(struct packet *p, __be16 port)
{
	__u64 key = service_key(p->vip_id, port, p->protocol);
	__u64 hash = key * GOLDEN_RATIO_64, found;

	found = find_service_in(p, first_bucket(hash, SERVICE_BUCKET_BITS), key);
	if (!found)
		found = find_service_in(p, second_bucket(hash, SERVICE_BUCKET_BITS), key);
	return found;
}

/* Finds the service of this port, or else the VIP's service for any port. */
static __always_inline int find_service(struct packet *p, struct service *service)
{
	union service_word found;

	found.word = find_service_on(p, p->service_port);
	if (!found.word)
		found.word = find_service_on(p, 0);
	if (!found.word)
		return PASS(p, no_service);
	*service = found.service;
	return NEXT;
}

#endif
