/* SPDX-License-Identifier: GPL-2.0-only */
/* A client's slot in its service's ring. The hashes are those of IPVS's mh and sh. */
#ifndef XDPLB_RING_H
#define XDPLB_RING_H

#include "flow.h"
#include "siphash.h"

/* The keys and the multiplier are IPVS's: net/netfilter/ipvs/ip_vs_mh.c, include/linux/hash.h. */
#define MH_KEY 2654435761ULL
#define GOLDEN_RATIO_32 0x61c88647U
#define SH_SHIFT 24

/* The 32 bits of a client that IPVS hashes, in host order. The words of an IPv6 address are
 * combined by exclusive or.
 */
static __always_inline __u32 client_key(const struct packet *p, bool hash_port)
{
	__u64 folded = p->client.high ^ p->client.low;
	__u32 key = bpf_ntohl(folded >> 32 ^ (is_ipv6(p) ? (__u32)folded : 0));

	if (hash_port) {
		asm volatile(
			""); /* forces a branch: otherwise each packet computes the sum, and most do not use it */
		key += bpf_ntohs(p->client_port);
	}
	return key;
}

/* number % RING_SLOTS without a division. With bits = ceil(log2(RING_SLOTS)), the factor is below
 * 2^32, so the product is below 2^64. The quotient is at most 1 too low: the error is below number
 * * 2^-(31 + bits) < 2^(1 - bits), at most 1.
 */
#define RING_BITS (32 - __builtin_clz(RING_SLOTS - 1))
#define RING_FACTOR ((1ULL << (31 + RING_BITS)) / RING_SLOTS)

/* index % RING_SLOTS, for an index below 2 * RING_SLOTS. */
static __always_inline __u64 wrap_ring(__u64 index)
{
	__s64 less = (__s64)index - RING_SLOTS;

	return less + sign_bit(less) * RING_SLOTS;
}

static __always_inline __u64 mod_ring_slots(__u64 number)
{
	return wrap_ring(number - (number * RING_FACTOR >> (31 + RING_BITS)) * RING_SLOTS);
}

/* The slot by ip_vs_mh_hashkey(). The ring of mh always uses all RING_SLOTS slots. */
static __always_inline __u32 mh_slot(__u32 value)
{
	struct siphash s;

	siphash_start(&s, MH_KEY, MH_KEY);
	return mod_ring_slots((__u32)siphash_finish(&s, 4ULL << 56 | value));
}

union slot_word {
	__u64 word;
	struct slot slot;
};

static __always_inline __u32 slot_number(int pick, __u32 key)
{
	return pick == PICK_SH ? key * GOLDEN_RATIO_32 >> SH_SHIFT : mh_slot(key);
}

/* Reads a slot in one load, because Python may be replacing the ring. Returns: false if there is
 * none.
 */
static __always_inline bool read_slot(const struct service *service, __u32 index,
				      struct slot *found)
{
	__u32 id = service->id;
	void *ring = rings.lookup(&id);
	union slot_word read;
	__u64 *slot;

	if (!ring)
		return false;
	slot = bpf_map_lookup_elem(ring, &index);
	if (!slot)
		return false;
	read.word = *slot;
	*found = read.slot;
	return true;
}

/* Reads a slot for new flows. It must have a real. */
static __always_inline int find_slot(struct packet *p, const struct service *service, __u32 index,
				     struct slot *found)
{
	if (!read_slot(service, index, found))
		return DROP(p, no_real);
	return found->real ? NEXT : DROP(p, no_real);
}

#endif
