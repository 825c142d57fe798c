/* SPDX-License-Identifier: GPL-2.0-only */
/* Fragments (RFC 791 §3.2, RFC 8200 §4.5). A first fragment has the ports, and is balanced like any
 * packet of its flow. Its real is stored under source, VIP, protocol (IPv4 only) and ID. The later
 * fragments go to that real, each in a tunnel packet of its own:
 *
 *	1 | tag (19 bits) | service (12) | real (16) | tick (16)
 *
 * A later fragment that arrives before the first one is passed up, because its real is unknown.
 * (IPVS lets the kernel reassemble the packet and balances the whole; XDP cannot store fragments.)
 * The table has a fixed size, its hash is secret, and the oldest record is replaced. So a flood of
 * fragments can only affect packets whose fragments are still arriving.
 */
#ifndef XDPLB_FRAGMENT_H
#define XDPLB_FRAGMENT_H

#include "timed_record.h"
#include "schedule.h"

#define FRAGMENT_LIFE \
	30 /* ticks, as net.ipv4.ipfrag_time: later, the receiver has given up reassembly */
#define FRAGMENT_TAG_SHIFT 44
#define FRAGMENT_SERVICE_SHIFT 32
#define FRAGMENT_SERVICES 4096 /* at least MAX_SERVICES: xdplb/model/tunables.py */

static __always_inline __u64 hash_fragment(const struct packet *p)
{
	return hash_client(p, &p->director->config, p->fragment_id,
			   p->vip.high + p->vip.low + p->protocol);
}

static __always_inline volatile __u64 *find_fragment(const struct packet *p, __u64 hash)
{
	__u64 index = hash & ((1 << FRAGMENT_BUCKET_BITS) - 1);

	return find_timed_record(
		NTH(flow_bucket, *(union all_fragments *)VALUE(DIRECT_FRAGMENTS), index), hash,
		FRAGMENT_TAG_SHIFT, p->tick);
}

/* Clears the ports of a first fragment when they are no longer needed, and the protocol where later
 * fragments do not have it. Code that hashes the flow must get the same values for all fragments,
 * or they would take different paths to the real.
 */
static __always_inline void drop_ports(struct packet *p)
{
	p->client_port = 0;
	p->service_port = 0;
	if (is_ipv6(p))
		p->protocol = IPPROTO_FRAGMENT;
}

/* Stores the real of a first fragment that was forwarded. If it was not forwarded, the later
 * fragments are passed up too.
 */
static __always_inline void remember_fragment(struct packet *p, __u64 service, __u64 index)
{
	__u64 hash = hash_fragment(p), record;

	record = hash >> FRAGMENT_TAG_SHIFT << FRAGMENT_TAG_SHIFT |
		 service << FRAGMENT_SERVICE_SHIFT | index << FLOW_REAL_SHIFT | (p->tick & 0xffff);
	*find_fragment(p, hash) = record;
}

/* Finds the real of a later fragment: that of the first one, if it is still a real of the same
 * service.
 */
static __always_inline int follow_fragment(struct packet *p, struct real **real, __u32 *index)
{
	__u64 hash = hash_fragment(p), record;
	struct service service = {};

	p->tick = tick_now();
	record = *find_fragment(p, hash);
	if (!is_fresh(record, hash, FRAGMENT_TAG_SHIFT, p->tick, FRAGMENT_LIFE))
		return PASS(p, fragment);
	*index = flow_real(record);
	service.id = record >> FRAGMENT_SERVICE_SHIFT & (FRAGMENT_SERVICES - 1);
	*real = find_real(&service, *index);
	return *real ? NEXT : PASS(p, fragment);
}

#endif
