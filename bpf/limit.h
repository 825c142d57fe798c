/* SPDX-License-Identifier: GPL-2.0-only */
/* How many flows of a service may begin in a tick, of all sources together and of each one. Asked for packets that
 * would begin a flow, and only of services with a limit: a flow that has begun is never refused.
 */
#ifndef XDPLB_LIMIT_H
#define XDPLB_LIMIT_H

#include "service.h"

/* Counts a flow that begins in this tick. Returns: whether it is within the limit. Exact over all CPUs, as what
 * they count beyond it is refused all the same. A tally that is full is only read: its cache line stays with all.
 */
static __always_inline bool count_flow(struct tally *tally, __u32 tick, __u32 limit)
{
	__u64 word = tally->word, fresh = (__u64)tick << 32;

	if (word < fresh) {
		/* Never backwards: another CPU may be a tick ahead. Who loses the race counts on with the winner. */
		__sync_val_compare_and_swap(&tally->word, word, fresh);
		word = fresh;
	}
	return (__u32)word < limit && (__u32)__sync_fetch_and_add(&tally->word, 1) < limit;
}

/* One source's tally of one service: an IPv4 address's, or an IPv6 /64's. It is nobody's own, but found by a hash:
 * two sources share one by chance, at most 2^(1 - SOURCE_BITS) (multiply-shift: Dietzfelbinger et al., J. Algorithms
 * 25, 1997), and are then refused the sooner. The factor is secret, and another in each tick: nobody can aim at
 * somebody's tally, and who shares one hardly does so in the next tick.
 */
static __always_inline struct tally *source_tally(const struct packet *p, __u64 service)
{
	const struct config *config = &p->director->config;
	__u64 source = is_ipv6(p) ? p->client.high : p->client.low >> 32;
	__u64 factor = (config->flow_key[1] + p->tick * GOLDEN_RATIO_64) | 1;
	__u64 hash = (source ^ config->flow_key[0]) * factor + service * GOLDEN_RATIO_64;

	return NTH(tally, *(union all_sources *)VALUE(DIRECT_SOURCES),
		   first_bucket(hash, SOURCE_BITS));
}

/* The source comes first: what one has too many of shall not use up what the service takes of all. */
static __always_inline int admit_flow(struct packet *p, const struct service *service)
{
	__u64 id = service->id;
	struct limit *limit;

	asm volatile("" : "+r"(id)); /* bounds the register that is used, not a copy of it */
	if (!(service->flags & SERVICE_LIMITED) || id >= MAX_SERVICES)
		return NEXT;
	limit = NTH(limit, p->director->limits, id);
	if (limit->source_flows && !count_flow(source_tally(p, id), p->tick, limit->source_flows))
		return DROP(p, source_limited);
	if (limit->flows && !count_flow(&limit->tally, p->tick, limit->flows))
		return DROP(p, limited);
	return NEXT;
}

#endif
