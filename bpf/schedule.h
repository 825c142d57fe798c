/* SPDX-License-Identifier: GPL-2.0-only */
/* Picks a packet's real: the real in its flow's record, or else the owner of its slot in the
 * service's ring.
 *
 * Flows of a slot that is not in transition need no record, because the same client always finds
 * the same slot. In a slot that is in transition, a new flow goes to the present owner and is
 * recorded. A packet that neither begins a flow nor has a record belongs to a flow from before the
 * change: it goes to the previous owner, and its flow is recorded. (Related: Maglev, NSDI 2016;
 * Beamer, NSDI 2018; JET, CoNEXT 2021.)
 */
#ifndef XDPLB_SCHEDULE_H
#define XDPLB_SCHEDULE_H

#include "flow.h"
#include "limit.h"
#include "reselect.h"

/* rr and wrr: takes the ring's next slot. All CPUs share the turns. */
static __always_inline int next_slot(struct packet *p, const struct service *service,
				     struct slot *found)
{
	__u64 id = service->id;
	struct turn *turn;

	asm volatile("" : "+r"(id)); /* so the check bounds the register that is used, not a copy */
	if (id >= MAX_SERVICES || !service->slots)
		return DROP(p, no_real);
	turn = NTH(turn, p->director->turns, id);
	return find_slot(p, service, __sync_fetch_and_add(&turn->next, 1) % service->slots, found);
}

/* mh and sh: finds the client's slot. */
static __always_inline int hashed_slot(struct packet *p, const struct service *service,
				       struct slot *found)
{
	__u32 key = client_key(p, service->flags & SERVICE_HASH_PORT);
	__u32 index = slot_number(service->pick, key);
	int verdict;

	if ((verdict = find_slot(p, service, index, found)) != NEXT)
		return verdict;
	if (found->flags & SLOT_RESELECT)
		return p->rare ? reselect(p, service, key, index, found) : HAND_OVER_RARE(p);
	return NEXT;
}

static __always_inline struct real *find_real(const struct service *service, __u64 index)
{
	struct real *real;

	asm volatile(""
		     : "+r"(index)); /* so the check bounds the register that is used, not a copy */
	if (index >= MAX_REALS)
		return NULL;
	real = NTH(real, *(union all_reals *)VALUE(DIRECT_REALS), index);
	return real->service == service->id ? real : NULL;
}

/* Follows the flow's record. Returns NULL if there is none, if the packet begins a new flow, or if
 * the record's real was removed. A SYN whose record is new is a retransmission and must reach the
 * same real. Any other SYN means that the client uses the port again.
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

/* Whether a packet without a record begins a flow. Otherwise it is a TCP packet in midstream, or an
 * ICMP error.
 */
static __always_inline bool begins_flow(const struct packet *p)
{
	return opens_connection(p) || (p->protocol == IPPROTO_UDP && !is_error(p));
}

/* The owner by the previous pick, before the change; 0: none. `slot`: any slot of the ring. */
static __always_inline __u32 previous_pick_owner(const struct packet *p,
						 const struct service *service,
						 const struct slot *slot)
{
	int pick = slot->flags & SLOT_PREVIOUS_SH ? PICK_SH : PICK_MH;
	__u32 key = client_key(p, slot->flags & SLOT_PREVIOUS_PORT);
	struct slot other;

	return read_slot(service, slot_number(pick, key), &other) ? other.previous_pick_real : 0;
}

/* A TCP packet in midstream without a record, while the pick changes: its flow began before. */
static __always_inline int adopt_flow(struct packet *p, const struct service *service,
				      const struct slot *slot, __u32 *index)
{
	if (!p->rare)
		return HAND_OVER_RARE(p);
	*index = previous_pick_owner(p, service, slot);
	if (!*index && service->pick == PICK_TURN)
		return PASS(p, no_flow);
	if (!*index)
		*index = slot->real;
	return NEXT;
}

/* Picks the real of a flow without a record. A new flow goes to the present owner of its slot, or
 * of the slot whose turn it is. Any other flow goes to the previous owner. With rr and wrr a client
 * has no slot of its own, but any slot tells whether the pick changes.
 *
 * The main programs hand over what they need not do: with adopt_flow() in them, the compiler spills
 * more on the way of all packets (mh-1: 7 instructions).
 */
static __always_inline int begin_flow(struct packet *p, const struct service *service,
				      struct slot *slot, struct flow *flow, __u32 *index)
{
	bool begins = begins_flow(p);
	int verdict;

	if (begins && (verdict = admit_flow(p, service)) != NEXT)
		return verdict;
	if (service->pick == PICK_TURN) {
		if (!begins && !p->rare)
			return HAND_OVER_RARE(p);
		if (!begins && (!read_slot(service, 0, slot) || !slot->previous))
			return PASS(p, no_flow);
		if (begins && (verdict = next_slot(p, service, slot)) != NEXT)
			return verdict;
	}
	*index = begins || !slot->previous ? slot->real : slot->previous;
	if (*index == PREVIOUS_BY_PICK && (verdict = adopt_flow(p, service, slot, index)) != NEXT)
		return verdict;
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
