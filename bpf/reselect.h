/* SPDX-License-Identifier: GPL-2.0-only */
/* mh-fallback: a client whose slot belongs to a drained real is hashed again. The search is a program of its own,
 * xdplb_reselect(): the verifier follows its loop once, not once for each way that a packet gets there.
 */
#ifndef XDPLB_RESELECT_H
#define XDPLB_RESELECT_H

#include "ring.h"

/* IPVS tries as often as its table has slots. With 90 % of the weight drained, 128 tries fail once in 700,000
 * clients; after them the owner in the table without the drained reals serves. (More tries: the verifier walks
 * each one, in each state that gets here.)
 */
#define RESELECT_TRIES 128

/* As ip_vs_mh_get_fallback(): hash again, with the slot's own number and those after it, until a slot is
 * found whose owner takes new flows.
 */
static __always_inline void answer_reselection(struct reselection *asked)
{
	__u32 id = asked->service, offset = asked->slot;
	void *ring = rings.lookup(&id);

	asked->answered = 1;
	if (!ring)
		return;
	for (int i = 0; i < RESELECT_TRIES; i++) {
		__u32 index = mh_slot(asked->key + offset);
		struct slot *slot = bpf_map_lookup_elem(ring, &index);

		if (!slot)
			return;
		if (!(slot->flags & SLOT_RESELECT)) {
			asked->real = slot->real;
			return;
		}
		offset = wrap_ring(offset + 1);
	}
}

/* Asks once: the program begins anew with the packet, and finds the answer to its own question here. */
static __always_inline int reselect(struct packet *p, const struct service *service, __u32 key,
				    __u32 index, struct slot *found)
{
	struct reselection *asked = &p->cpu->reselection;

	if (!asked->answered || asked->service != service->id || asked->key != key) {
		*asked = (struct reselection){
			.key = key,
			.slot = index,
			.service = service->id,
			.real = found->real,
			.ipv6 = is_ipv6(p),
		};
		return HAND_OVER(p, KIND_RESELECT);
	}
	asked->answered = 0;
	found->real = asked->real;
	return NEXT;
}

#endif
