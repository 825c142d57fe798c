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
	__u32 tag[2];	   /* VLAN tags, as they stood in the frame */
	struct address client;
	struct address vip;
	__u32 vip_id;
	__u32 tags;	   /* how many there were */
	__u32 transport;   /* offset of the TCP or UDP header */
	__u32 length;	   /* of the IP packet, by its header */
	__u32 tick;	   /* now */
	__u32 fate;	   /* index of a counter */
	__be16 client_port;
	__be16 service_port;
	__be16 fragment;   /* IPv4's flags and fragment offset */
	__u8 protocol;
	__u8 tos;
	__u8 ttl;
	__u8 tcp_flags;
	__u8 new_flow;
};

/* Has the value in memory, so that later code reads it there. Without, the compiler keeps the pointer it
 * was copied from, and the verifier (6.18) walks all that follows once for each way of a bucket.
 */
#define settle(value) asm volatile("" : : "r"(value) : "memory")

static __always_inline void *frame_start(const struct packet *p)
{
	return (void *)(long)p->ctx->data;
}

static __always_inline void *frame_end(const struct packet *p)
{
	return (void *)(long)p->ctx->data_end;
}

/* A tick is 2^30 ns, 1.07 s: 16 bits of them tell flows apart for 19 hours. */
static __always_inline __u32 tick_now(void)
{
	return bpf_ktime_get_coarse_ns() >> 30;
}

static __always_inline void count(const struct packet *p)
{
	__u32 zero = 0, fate = p->fate;
	struct counters *all = counters.lookup(&zero);

	if (all && fate < COUNTERS)
		((__u64 *)all)[fate]++;
}

static __always_inline void count_forwarded(const struct packet *p, __u32 service, __u32 real)
{
	struct stats *of_service = service_stats.lookup(&service);
	struct stats *of_real = real_stats.lookup(&real);

	if (!of_service || !of_real)
		return;
	of_service->packets++;
	of_service->bytes += p->length;
	of_service->flows += p->new_flow;
	of_real->packets++;
	of_real->bytes += p->length;
	of_real->flows += p->new_flow;
}

#endif
