/* SPDX-License-Identifier: GPL-2.0-only */
/* Which real a packet goes to: the one its flow has, else the one its slot of the service's ring names.
 *
 * A slot that is not in transition needs no record of flows: the same client finds the same slot. In one
 * that is, a new flow goes to the present owner and is recorded; one that is neither new nor recorded
 * began before the change: it belongs to the previous owner, and is recorded from here on.
 * (Kin: Maglev, NSDI 2016; Beamer, NSDI 2018; JET, CoNEXT 2021.)
 */
#ifndef XDPLB_SCHEDULE_H
#define XDPLB_SCHEDULE_H

#include "flow.h"
#include "limit.h"
#include "siphash.h"

/* The keys and the multiplier are IPVS's: net/netfilter/ipvs/ip_vs_mh.c, include/linux/hash.h. */
#define MH_KEY 2654435761ULL
#define GOLDEN_RATIO_32 0x61c88647U
#define SH_SHIFT 24

/* IPVS tries as often as its table has slots. With 90 % of the weight drained, 128 tries fail once in 700,000
 * clients; after them the owner in the table without the drained reals serves. (More tries: the verifier walks
 * each one, in each state that gets here.)
 */
#define RESELECT_TRIES 128

/* The 32 bits of a client that IPVS's hashes take: host order, IPv6 folded by exclusive or. */
static __always_inline __u32 client_key(const struct packet *p, const struct service *service)
{
	__u64 folded = p->client.high ^ p->client.low;
	__u32 key = bpf_ntohl(folded >> 32 ^ (is_ipv6(p) ? (__u32)folded : 0));

	if (service->flags & SERVICE_HASH_PORT) {
		asm volatile(""); /* a branch: else each packet does the sum, and then drops it */
		key += bpf_ntohs(p->client_port);
	}
	return key;
}

/* number % RING_SLOTS without a division. With bits = ceil(log2(slots)) the factor is below 2^32, the product
 * below 2^64, and the quotient at most 1 too low: it lacks number * 2^-(31 + bits) < 2^(1 - bits), at most 1.
 */
#define RING_BITS (32 - __builtin_clz(RING_SLOTS - 1))
#define RING_FACTOR ((1ULL << (31 + RING_BITS)) / RING_SLOTS)

/* index % RING_SLOTS of one below 2 * RING_SLOTS. */
static __always_inline __u64 wrap_ring(__u64 index)
{
	__s64 less = (__s64)index - RING_SLOTS;

	return less + sign_bit(less) * RING_SLOTS;
}

static __always_inline __u64 mod_ring_slots(__u64 number)
{
	return wrap_ring(number - (number * RING_FACTOR >> (31 + RING_BITS)) * RING_SLOTS);
}

/* A client's slot by ip_vs_mh_hashkey(): a table of mh always has RING_SLOTS slots. */
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

/* Reads a slot whole: Python may be replacing the ring. */
static __always_inline int read_slot(struct packet *p, const struct service *service, __u32 index,
				     struct slot *found)
{
	__u32 id = service->id;
	void *ring = rings.lookup(&id);
	union slot_word read;
	__u64 *slot;

	if (!ring)
		return DROP(p, no_real);
	slot = bpf_map_lookup_elem(ring, &index);
	if (!slot)
		return DROP(p, no_real);
	read.word = *slot;
	*found = read.slot;
	return found->real ? NEXT : DROP(p, no_real);
}

/* rr and wrr: the ring's next slot, whichever CPU asks. */
static __always_inline int next_slot(struct packet *p, const struct service *service,
				     struct slot *found)
{
	__u64 id = service->id;
	struct turn *turn;

	asm volatile("" : "+r"(id)); /* bounds the register that is used, not a copy of it */
	if (id >= MAX_SERVICES || !service->slots)
		return DROP(p, no_real);
	turn = NTH(turn, p->director->turns, id);
	return read_slot(p, service, __sync_fetch_and_add(&turn->next, 1) % service->slots, found);
}

/* As ip_vs_mh_get_fallback(): hash again, with the slot's own number and those after it, until a slot is
 * found whose owner takes new flows.
 */
static __always_inline __u32 reselect(const struct service *service, __u32 key, __u32 offset,
				      __u32 otherwise)
{
	__u32 id = service->id;
	void *ring = rings.lookup(&id);

	if (!ring)
		return otherwise;
	for (int i = 0; i < RESELECT_TRIES; i++) {
		__u32 index = mh_slot(key + offset);
		struct slot *slot = bpf_map_lookup_elem(ring, &index);

		if (!slot)
			break;
		if (!(slot->flags & SLOT_RESELECT))
			return slot->real;
		offset = wrap_ring(offset + 1);
	}
	return otherwise;
}

/* mh and sh: the client's slot. */
static __always_inline int hashed_slot(struct packet *p, const struct service *service,
				       struct slot *found)
{
	__u32 key = client_key(p, service), index;
	int verdict;

	index = service->pick == PICK_SH ? key * GOLDEN_RATIO_32 >> SH_SHIFT : mh_slot(key);
	if ((verdict = read_slot(p, service, index, found)) != NEXT)
		return verdict;
	if (found->flags & SLOT_RESELECT) {
		if (!p->rare)
			return HAND_OVER_RARE(p);
		found->real = reselect(service, key, index, found->real);
	}
	return NEXT;
}

static __always_inline struct real *find_real(const struct service *service, __u64 index)
{
	struct real *real;

	asm volatile("" : "+r"(index)); /* bounds the register that is used, not a copy of it */
	if (index >= MAX_REALS)
		return NULL;
	real = NTH(real, *(union all_reals *)VALUE(DIRECT_REALS), index);
	return real->service == service->id ? real : NULL;
}

/* Follows the flow's record. NULL: it has none, or begins afresh, or its real was removed. A SYN on a new
 * record is a retransmission and must reach the same real; on any other the client's port is used again.
 */
static __always_inline struct real *follow_flow(struct packet *p, const struct service *service,
						const struct flow *flow, __u32 *index)
{
	struct real *real;

	if (!flow->alive || (opens_connection(p) && flow_state(flow->record) != FLOW_NEW))
		return NULL;
	*index = flow_real(flow->record);
	real = find_real(service, *index);
	if (real && !is_error(p))
		touch_flow(p, flow);
	return real;
}

/* Whether a packet of no known flow begins one; else it is one of TCP in midstream, or an error about any. */
static __always_inline bool begins_flow(const struct packet *p)
{
	return opens_connection(p) || (p->protocol == IPPROTO_UDP && !is_error(p));
}

/* The real of a flow that has none yet, or none any more. */
static __always_inline int begin_flow(struct packet *p, const struct service *service,
				      struct slot *slot, struct flow *flow, __u32 *index)
{
	bool begins = begins_flow(p);
	int verdict;

	if (begins && (verdict = admit_flow(p, service)) != NEXT)
		return verdict;
	if (service->pick == PICK_TURN) {
		if (!begins)
			return PASS(p, no_flow);
		if ((verdict = next_slot(p, service, slot)) != NEXT)
			return verdict;
	}
	*index = begins || !slot->previous ? slot->real : slot->previous;
	p->new_flow = begins;
	if (!is_error(p))
		record_flow(p, flow, *index);
	return NEXT;
}

static __always_inline int pick_real(struct packet *p, const struct service *service,
				     struct real **real, __u32 *index)
{
	struct slot slot = {};
	struct flow flow;
	int verdict = NEXT;

	if (service->pick != PICK_TURN)
		verdict = hashed_slot(p, service, &slot);
	else if (service->flags & SERVICE_ONE_PACKET)
		verdict = is_error(p) ? PASS(p, icmp) : next_slot(p, service, &slot);
	if (verdict != NEXT)
		return verdict;

	if ((service->flags & SERVICE_RECORDED) || (slot.flags & SLOT_RECORDED)) {
		if ((verdict = find_flow(p, service->id, &flow)) != NEXT)
			return verdict;
		if ((*real = follow_flow(p, service, &flow, index)))
			return NEXT;
		if ((verdict = begin_flow(p, service, &slot, &flow, index)) != NEXT)
			return verdict;
	} else {
		*index = slot.real;
		p->new_flow = begins_flow(p);
		if (p->new_flow && (verdict = admit_flow(p, service)) != NEXT)
			return verdict;
	}
	*real = find_real(service, *index);
	return *real ? NEXT : DROP(p, no_real);
}

#endif
