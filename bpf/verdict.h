/* SPDX-License-Identifier: GPL-2.0-only */
/* What becomes of a packet. A stage returns NEXT, or an XDP action through one of the macros below,
 * which name the counter that the packet will end in; count() counts it once, at the only exit.
 */
#ifndef XDPLB_VERDICT_H
#define XDPLB_VERDICT_H

#include "maps.h"

#define NEXT (-1)

#define FATE(p, action, name) \
	((p)->fate = __builtin_offsetof(struct counters, name) / sizeof(__u64), (action))
#define PASS(p, reason) FATE(p, XDP_PASS, pass_##reason)
#define DROP(p, reason) FATE(p, XDP_DROP, drop_##reason)

/* A packet's values as the stages find them. No pointers into the frame: moving its head spoils them. */
struct packet {
	struct xdp_md *ctx;
	struct director *director;
	__u32 tag[2]; /* VLAN tags, as they stood in the frame */
	struct address client;
	struct address vip;
	__u32 vip_id;
	__u32 tags;      /* how many there were */
	__u32 transport; /* offset of the TCP or UDP header */
	__u32 length;    /* of the IP packet, by its header */
	__u32 tick;      /* now */
	__u32 fate;      /* index of a counter */
	__be16 client_port;
	__be16 service_port;
	__u8 protocol;
	__u8 tcp_flags;
	__u8 new_flow;
};

static __always_inline void *frame_start(const struct packet *p)
{
	return (void *)(long)p->ctx->data;
}

static __always_inline void *frame_end(const struct packet *p)
{
	return (void *)(long)p->ctx->data_end;
}

/* A tick is about a second: 2^TICK_SHIFT jiffies, by the kernel's HZ. 16 bits of them tell flows apart for
 * 18 hours and more. The kernel inlines the helper to one load; bpf_ktime_get_coarse_ns() took 9 ns.
 */
static __always_inline __u32 tick_now(void)
{
	return bpf_jiffies64() >> TICK_SHIFT;
}

static __always_inline void count(const struct packet *p)
{
	__u32 zero = 0, fate = p->fate;
	struct counters *all = counters.lookup(&zero);

	if (all && fate < COUNTERS)
		((__u64 *)all)[fate]++;
}

static __always_inline void count_forwarded(const struct packet *p, __u32 real)
{
	struct stats *stats = real_stats.lookup(&real);

	if (!stats)
		return;
	stats->packets++;
	stats->bytes += p->length;
	if (p->new_flow)
		stats->flows++;
}

#endif
