/* SPDX-License-Identifier: GPL-2.0-only */
/* The verdict about a packet. A stage returns NEXT, or an XDP action through one of the macros
 * below. The macro names the packet's counter, and count() increments it once, at the only exit.
 * HAND_OVER() gives the packet to another program, which starts again from the first stage.
 */
#ifndef XDPLB_VERDICT_H
#define XDPLB_VERDICT_H

#include "maps.h"

#define NEXT (-1)

#define FATE(p, action, name) \
	set_fate((p), (action), __builtin_offsetof(struct counters, name) / sizeof(__u64))
#define PASS(p, reason) FATE(p, XDP_PASS, pass_##reason)
#define DROP(p, reason) FATE(p, XDP_DROP, drop_##reason)
#define HAND_OVER(p, kind) set_fate((p), XDP_PASS, COUNTERS + (kind))
#define HAND_OVER_RARE(p) HAND_OVER(p, is_ipv6(p) ? KIND_IPV6_RARE : KIND_RARE)

/* What the stages found out about a packet. It contains no pointers into the frame, because moving
 * the frame's head invalidates them. Numbers have 64 bits where possible: BPF computes in 64 bits,
 * and each narrower number costs two shifts.
 */
struct packet {
	struct xdp_md *ctx;
	struct director *director;
	struct cpu *cpu;
	int family; /* AF_INET or AF_INET6: a constant in each program */
	bool rare;  /* whether this program handles rare packets: another constant */
	volatile __u32 tag[MAX_TAGS]; /* as in struct vlan; in memory: few frames have any */
	struct address client;
	struct address vip;
	__u64 vip_id;
	__u64 tags; /* number of tags, of the frame that came; at the end, of the frame that leaves */
	__u64 transport; /* offset of the TCP or UDP header */
	__u64 length;    /* of the IP packet, from its header */
	__u64 fate;      /* index of a counter; or COUNTERS + enum kind */
	__u64 new_flow;  /* 1 if this packet begins a flow */
	__u32 tick;      /* the present tick */
	__be16 client_port;
	__be16 service_port;
	__u8 protocol;
	__u8 tcp_flags;
	__be16 fragment;    /* fragment_bits(); use is_fragment() */
	__be32 fragment_id; /* 16 bits for IPv4 */
	__u8 error;         /* 1: an ICMP error about a packet of this flow; use is_error() */
};

/* The empty asm keeps the two constants at the exit. Otherwise the compiler would load them before
 * each branch to an exit, also for packets that do not take it.
 */
static __always_inline int set_fate(struct packet *p, int action, __u64 fate)
{
	asm volatile("" : "+r"(fate));
	p->fate = fate;
	return action;
}

static __always_inline bool is_ipv6(const struct packet *p)
{
	return p->family == AF_INET6;
}

static __always_inline bool has_ports(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

static __always_inline bool is_icmp(const struct packet *p)
{
	return p->protocol == (is_ipv6(p) ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

#define IP_MORE_FRAGMENTS 0x2000
#define IP_OFFSET 0x1fff
#define IPV6_MORE_FRAGMENTS 0x0001
#define IPV6_OFFSET 0xfff8

static __always_inline __be16 fragment_offset(const struct packet *p)
{
	return is_ipv6(p) ? bpf_htons(IPV6_OFFSET) : bpf_htons(IP_OFFSET);
}

/* The fragment's offset and its "more fragments" flag, from the header's word that has them. 0 if
 * the packet is not a fragment.
 */
static __always_inline __be16 fragment_bits(const struct packet *p, __be16 word)
{
	return word & (fragment_offset(p) | (is_ipv6(p) ? bpf_htons(IPV6_MORE_FRAGMENTS)
							: bpf_htons(IP_MORE_FRAGMENTS)));
}

/* The main program of a family handles no fragments. */
static __always_inline bool is_fragment(const struct packet *p)
{
	return p->rare && p->fragment;
}

/* Whether this fragment has no ports. */
static __always_inline bool is_later_fragment(const struct packet *p)
{
	return p->rare && p->fragment & fragment_offset(p);
}

#define IP_AT \
	((int)sizeof( \
		struct \
		ethhdr)) /* offset of the IP header; the tags were removed before: see vlan.h */

static __always_inline void *frame_start(const struct packet *p)
{
	return (void *)(long)p->ctx->data;
}

static __always_inline void *frame_end(const struct packet *p)
{
	return (void *)(long)p->ctx->data_end;
}

static long (*xdp_adjust_head)(struct xdp_md *ctx, int by) = (void *)BPF_FUNC_xdp_adjust_head;

/* BCC declares this helper with an int result, and the compiler then clears the upper half first.
 * Returns: whether the driver had the room.
 */
static __always_inline bool move_head(struct packet *p, int by)
{
	return xdp_adjust_head(p->ctx, by) == 0;
}

/* A tick is about one second: 2^TICK_SHIFT jiffies, depending on the kernel's HZ. Records keep 16
 * bits of it, which is 18 hours or more. The kernel inlines this helper to one load;
 * bpf_ktime_get_coarse_ns() took 9 ns.
 */
static __always_inline __u32 tick_now(void)
{
	return bpf_jiffies64() >> TICK_SHIFT;
}

/* What only this CPU writes. Returns NULL on a CPU that is not among the kernel's possible CPUs;
 * there is no such CPU.
 */
static __always_inline struct cpu *this_cpu(void)
{
	__u64 id = bpf_get_smp_processor_id();

	asm volatile("" : "+r"(id)); /* so the check bounds the register that is used, not a copy */
	return id < CPUS ? NTH(cpu, *(union all_cpus *)VALUE(DIRECT_CPUS), id) : NULL;
}

/* Returns: false if the packet is to be handed over, and has no counter here. */
static __always_inline bool count(const struct packet *p)
{
	__u64 fate = p->fate;

	if (fate >= COUNTERS)
		return false;
	((__u64 *)&p->cpu->counters)[fate]++;
	return true;
}

static __always_inline void count_forwarded(const struct packet *p, __u64 real)
{
	struct stats *stats;

	asm volatile("" : "+r"(real));
	if (real >= MAX_REALS)
		return;
	stats = NTH(stats, p->cpu->stats, real);
	stats->packets++;
	stats->bytes += p->length;
	stats->flows += p->new_flow;
}

#endif
