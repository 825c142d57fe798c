/* SPDX-License-Identifier: GPL-2.0-only */
/* mh-fallback: if a client's slot belongs to a drained real, the client is hashed again. A rare
 * program asks, and the program xdplb_reselect() searches and answers. In a program of its own, the
 * verifier walks the loop once; in the rare programs it would walk it once for each path that leads
 * there.
 */
#ifndef XDPLB_RESELECT_H
#define XDPLB_RESELECT_H

#include "ring.h"

/* IPVS tries as often as its table has slots. With 90 % of the weight drained, 128 tries fail for
 * one of 700,000 clients. Such a client gets its slot's owner in the table without the drained
 * reals.
 */
#define RESELECT_TRIES 128

/* As ip_vs_mh_get_fallback() does: hashes the key again with the slot's number, then with the
 * numbers after it, until it finds a slot whose owner is not drained.
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

/* Asks xdplb_reselect(), or takes its answer. A tail call does not return: this program starts
 * again with the same packet, comes here again, and finds the answer to its own question.
 */
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
