/* SPDX-License-Identifier: GPL-2.0-only */
/* What becomes of a packet. A stage returns NEXT, or an XDP action through one of the macros below,
 * which name the counter that the packet will end in; count() counts it once, at the only exit. HAND_OVER
 * leaves the packet to another program, which begins anew with it.
 */
#ifndef XDPLB_VERDICT_H
#define XDPLB_VERDICT_H

#include "maps.h"

#define NEXT (-1)

#define FATE(p, action, name) \
	end_in((p), (action), __builtin_offsetof(struct counters, name) / sizeof(__u64))
#define PASS(p, reason) FATE(p, XDP_PASS, pass_##reason)
#define DROP(p, reason) FATE(p, XDP_DROP, drop_##reason)
#define HAND_OVER(p, kind) end_in((p), XDP_PASS, COUNTERS + (kind))
#define HAND_OVER_RARE(p) HAND_OVER(p, is_ipv6(p) ? KIND_IPV6_RARE : KIND_RARE)

/* A packet's values as the stages find them. No pointers into the frame: moving its head spoils them. Numbers have
 * 64 bits where they can: BPF computes in those, and each narrower one costs two shifts.
 */
struct packet {
	struct xdp_md *ctx;
	struct director *director;
	struct cpu *cpu;
	int family; /* a constant of each program: AF_INET or AF_INET6 */
	bool rare;  /* another: whether what its family's first program hands over is dealt with */
	volatile __u32
		tag[MAX_TAGS]; /* VLAN tags as in struct vlan; in memory: few frames have any */
	struct address client;
	struct address vip;
	__u64 vip_id;
	__u64 tags;      /* how many: of what came, in the end of what leaves */
	__u64 transport; /* offset of the TCP or UDP header */
	__u64 length;    /* of the IP packet, by its header */
	__u64 fate;      /* index of a counter; from COUNTERS on, enum kind */
	__u64 new_flow;  /* 1 if this packet begins one */
	__u32 tick;      /* now */
	__be16 client_port;
	__be16 service_port;
	__u8 protocol;
	__u8 tcp_flags;
	__be16 fragment;    /* fragment_bits(): ask is_fragment() */
	__be32 fragment_id; /* IPv4's has 16 bits */
	__u8 error;         /* 1: an ICMP error about a packet of this flow: ask is_error() */
};

/* The empty asm keeps the two constants where they are needed: else the compiler loads them before each branch
 * that might need them, on the way of those that do not.
 */
static __always_inline int end_in(struct packet *p, int action, __u64 fate)
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

/* Of a header's word with the fragment's offset, what makes it a fragment's: 0, if the packet is whole. */
static __always_inline __be16 fragment_bits(const struct packet *p, __be16 word)
{
	return word & (fragment_offset(p) | (is_ipv6(p) ? bpf_htons(IPV6_MORE_FRAGMENTS)
							: bpf_htons(IP_MORE_FRAGMENTS)));
}

/* A family's first program has none. */
static __always_inline bool is_fragment(const struct packet *p)
{
	return p->rare && p->fragment;
}

/* It has no ports. */
static __always_inline bool is_later_fragment(const struct packet *p)
{
	return p->rare && p->fragment & fragment_offset(p);
}

#define IP_AT ((int)sizeof(struct ethhdr)) /* offset of the IP header; tags are off: see vlan.h */

static __always_inline void *frame_start(const struct packet *p)
{
	return (void *)(long)p->ctx->data;
}

static __always_inline void *frame_end(const struct packet *p)
{
	return (void *)(long)p->ctx->data_end;
}

static long (*xdp_adjust_head)(struct xdp_md *ctx, int by) = (void *)BPF_FUNC_xdp_adjust_head;

/* BCC's own declaration returns an int, of which the compiler clears the upper half first. Returns: whether the
 * driver had the room.
 */
static __always_inline bool move_head(struct packet *p, int by)
{
	return xdp_adjust_head(p->ctx, by) == 0;
}

/* A tick is about a second: 2^TICK_SHIFT jiffies, by the kernel's HZ. 16 bits of them tell flows apart for
 * 18 hours and more. The kernel inlines the helper to one load; bpf_ktime_get_coarse_ns() took 9 ns.
 */
static __always_inline __u32 tick_now(void)
{
	return bpf_jiffies64() >> TICK_SHIFT;
}

/* What this CPU alone writes. NULL: a CPU beyond those that the kernel said were possible; there is none. */
static __always_inline struct cpu *this_cpu(void)
{
	__u64 id = bpf_get_smp_processor_id();

	asm volatile("" : "+r"(id)); /* bounds the register that is used, not a copy of it */
	return id < CPUS ? NTH(cpu, *(union all_cpus *)VALUE(DIRECT_CPUS), id) : NULL;
}

/* Returns: false if the packet has no counter here, but is to be handed over. */
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
