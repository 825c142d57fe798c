/* SPDX-License-Identifier: GPL-2.0-only */
/* Fragments (RFC 791 §3.2, RFC 8200 §4.5). The first has the ports and is balanced as any packet of its flow; its real
 * is remembered for source, VIP, protocol (of IPv4) and ID, and the later ones follow it, each in a tunnel of its own:
 *
 *	1 | tag (19 bits) | service (12) | real (16) | tick (16)
 *
 * One that comes before its first goes up, rather than astray. IPVS has the kernel put them together, and balances the
 * whole: XDP has no place to keep one. The table is bounded, its hash secret, and the oldest record gives way: a flood
 * costs others at most the pieces that are on the way.
 */
#ifndef XDPLB_FRAGMENT_H
#define XDPLB_FRAGMENT_H

#include "recent.h"
#include "schedule.h"

#define FRAGMENT_LIFE 30 /* ticks: as net.ipv4.ipfrag_time, after which nobody puts them together */
#define FRAGMENT_TAG_SHIFT 44
#define FRAGMENT_SERVICE_SHIFT 32
#define FRAGMENT_SERVICES 4096 /* more than MAX_SERVICES can be: xdplb/model/tunables.py */

static __always_inline __u64 hash_fragment(const struct packet *p)
{
	return hash_client(p, &p->director->config, p->fragment_id,
			   p->vip.high + p->vip.low + p->protocol);
}

static __always_inline volatile __u64 *find_fragment(const struct packet *p, __u64 hash)
{
	__u64 index = hash & ((1 << FRAGMENT_BUCKET_BITS) - 1);

	return find_place(NTH(flow_bucket, *(union all_fragments *)VALUE(DIRECT_FRAGMENTS), index),
			  hash, FRAGMENT_TAG_SHIFT, p->tick);
}

/* A first fragment's ports have served, and its protocol, if later ones do not know it: to what goes by the flow's hash
 * all fragments shall look alike, or they would take different ways to the real.
 */
static __always_inline void drop_ports(struct packet *p)
{
	p->client_port = 0;
	p->service_port = 0;
	if (is_ipv6(p))
		p->protocol = IPPROTO_FRAGMENT;
}

/* Notes where a first fragment went. One that did not leave has the later ones go up too. */
static __always_inline void remember_fragment(struct packet *p, __u64 service, __u64 index)
{
	__u64 hash = hash_fragment(p), record;

	record = hash >> FRAGMENT_TAG_SHIFT << FRAGMENT_TAG_SHIFT |
		 service << FRAGMENT_SERVICE_SHIFT | index << FLOW_REAL_SHIFT | (p->tick & 0xffff);
	*find_fragment(p, hash) = record;
}

/* A later fragment's real: the first one's, if that was seen and is still the same service's. */
static __always_inline int follow_fragment(struct packet *p, struct real **real, __u32 *index)
{
	__u64 hash = hash_fragment(p), record;
	struct service service = {};

	p->tick = tick_now();
	record = *find_fragment(p, hash);
	if (!is_recent(record, hash, FRAGMENT_TAG_SHIFT, p->tick, FRAGMENT_LIFE))
		return PASS(p, fragment);
	*index = flow_real(record);
	service.id = record >> FRAGMENT_SERVICE_SHIFT & (FRAGMENT_SERVICES - 1);
	*real = find_real(&service, *index);
	return *real ? NEXT : PASS(p, fragment);
}

#endif
