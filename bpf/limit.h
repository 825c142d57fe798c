/* SPDX-License-Identifier: GPL-2.0-only */
/* Limits of new flows per tick: of one service from all sources together, and from each source.
 * Only a packet that would begin a flow is checked, and only if its service has a limit. A flow
 * that has begun is never refused.
 */
#ifndef XDPLB_LIMIT_H
#define XDPLB_LIMIT_H

#include "service.h"

/* Counts a flow that begins in this tick. Returns: whether it is within the limit. The result is
 * exact over all CPUs: flows above the limit are counted too, but refused. A tally above its limit
 * is only read, so its cache line stays shared.
 */
static __always_inline bool count_flow(struct tally *tally, __u32 tick, __u32 limit)
{
	__u64 word = tally->word, fresh = (__u64)tick << 32;

	if (word < fresh) {
		/* The tick never goes back: another CPU may be one tick ahead. A CPU that loses
		 * this race counts in the winner's tick.
		 */
		__sync_val_compare_and_swap(&tally->word, word, fresh);
		word = fresh;
	}
	return (__u32)word < limit && (__u32)__sync_fetch_and_add(&tally->word, 1) < limit;
}

/* The tally of one source of one service. A source is an IPv4 address or an IPv6 /64. The tally is
 * found by a hash, so two sources share one with a probability of at most 2^(1 - SOURCE_BITS)
 * (multiply-shift: Dietzfelbinger et al., J. Algorithms 25, 1997), and then share its limit. The
 * factor is secret and changes each tick. So nobody can choose a source that shares a given tally,
 * and two sources that share one in this tick hardly do so in the next.
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

/* The source is checked first: what one source sends above its limit does not use up the service's
 * limit.
 */
static __always_inline int admit_flow(struct packet *p, const struct service *service)
{
	__u64 id = service->id;
	struct limit *limit;

	asm volatile("" : "+r"(id)); /* so the check bounds the register that is used, not a copy */
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
