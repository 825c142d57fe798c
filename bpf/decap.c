// SPDX-License-Identifier: GPL-2.0-only
/* A real server's unwrapper, for kernels without ipip: strips the outer IPv4 header off what a
 * director sent, and hands the client's own packet to the stack.
 *
 *	| Ethernet, VLAN tags | IPv4 director → real, protocol 4 | IPv4 client → VIP | …
 *	| Ethernet, VLAN tags | IPv4 client → VIP | …                       RFC 2003
 *
 * Only packets of a known director for a known VIP are touched; the VIP has to be a local address.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>

#include "length.h"

#define NEXT (-1)
#define VLAN_TAGS 2
#define VLAN_LENGTH 4
#define LINK_BYTES (ETH_HLEN + VLAN_TAGS * VLAN_LENGTH)
#define IP_FRAGMENT 0x3fff /* more fragments, or an offset */
#define ECN_MASK 3
#define ECN_ECT_1 1
#define ECN_ECT_0 2
#define ECN_CE 3

/* What an LPM trie is asked with: addresses of 128 bits, IPv4 as v4-mapped. ::/0 is any director. */
struct prefix {
	__u32 length;
	__be32 address[4];
};

struct address {
	__be32 word[4];
};

/* Each packet ends in exactly one of these. pass_*: went up as it came; drop_*: lost. */
struct counters {
	/* expected */
	__u64 decapsulated;
	__u64 pass_not_ipv4;   /* ARP, IPv6, more than two VLAN tags, … */
	__u64 pass_not_tunnel; /* IPv4 that is not IPIP */
	/* worth a look when they grow */
	__u64 pass_not_director; /* IPIP from somebody else: a director not named at setup? */
	__u64 pass_not_vip;      /* from a director, for a VIP that this real does not have */
	__u64 pass_fragment;     /* the outer packet is in pieces: the path's MTU is too small */
	__u64 pass_options;   /* the outer header has IP options: no director of ours sends them */
	__u64 pass_truncated; /* too short for an IP header */
	/* alarming */
	__u64 drop_outer;    /* an outer header that contradicts itself or the frame's length */
	__u64 drop_checksum; /* the outer header was damaged on its way */
	__u64 drop_inner;    /* no whole IPv4 packet inside */
	__u64 drop_nested;   /* a tunnel in the tunnel: somebody sends through the director */
	__u64 drop_ecn;      /* congestion was marked, and the client does not speak ECN */
	__u64 drop_no_head;  /* the driver refused to move the frame's start */
};

#define COUNTERS (sizeof(struct counters) / sizeof(__u64))

BPF_F_TABLE("lpm_trie:" PIN "/directors", struct prefix, __u8, directors, MAX_DIRECTORS,
	    BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash:" PIN "/vips", struct address, __u8, vips, MAX_VIPS, 0);
BPF_F_TABLE("percpu_array:" PIN "/counters", __u32, struct counters, counters, 1, 0);

#define FATE(p, action, name) \
	((p)->fate = __builtin_offsetof(struct counters, name) / sizeof(__u64), (action))
#define PASS(p, reason) FATE(p, XDP_PASS, pass_##reason)
#define DROP(p, reason) FATE(p, XDP_DROP, drop_##reason)

struct packet {
	struct xdp_md *ctx;
	__u32 network; /* offset of the outer header */
	__u32 payload; /* length of what it carries */
	__u32 fate;    /* index of a counter */
	__u8 tos;      /* the outer one */
};

static __always_inline void *frame_start(const struct packet *p)
{
	return (void *)(long)p->ctx->data;
}

static __always_inline void *frame_end(const struct packet *p)
{
	return (void *)(long)p->ctx->data_end;
}

/* The ones' complement sum of a header without options, 0xffff if its checksum is right (RFC 1071).
 * Ten 16-bit words: the sum stays below 0x9fff7, the first fold below 0x10009, and the second ends it.
 */
static __always_inline __u32 header_sum(const struct iphdr *ip)
{
	const __u16 *word = (const __u16 *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < sizeof(*ip) / sizeof(*word); i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Ethernet and up to two VLAN tags, down to an IPv4 header. */
static __always_inline int parse_link(struct packet *p)
{
	struct ethhdr *eth = frame_start(p);
	void *end = frame_end(p);
	__be16 ethertype;

	if ((void *)(eth + 1) > end)
		return PASS(p, not_ipv4);
	p->network = sizeof(*eth);
	ethertype = eth->h_proto;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS; i++) {
		__be16 *tag = frame_start(p) + p->network;

		if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 2) > end)
			return PASS(p, not_ipv4);
		ethertype = tag[1];
		p->network += VLAN_LENGTH;
	}
	return ethertype == bpf_htons(ETH_P_IP) ? NEXT : PASS(p, not_ipv4);
}

/* The outer header: whose it is comes first, since what is no director's passes whatever it looks like. */
static __always_inline int parse_outer(struct packet *p)
{
	struct iphdr *ip = frame_start(p) + p->network;
	struct prefix from = { .length = 128 };
	void *end = frame_end(p);
	__u32 header, length;

	if ((void *)(ip + 1) > end)
		return PASS(p, truncated);
	if (ip->protocol != IPPROTO_IPIP)
		return PASS(p, not_tunnel);
	from.address[2] = bpf_htonl(0xffff);
	from.address[3] = ip->saddr;
	if (!directors.lookup(&from))
		return PASS(p, not_director);
	if (ip->frag_off & bpf_htons(IP_FRAGMENT))
		return PASS(p, fragment);

	header = ip->ihl * 4;
	length = host_length(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || length < header ||
	    (void *)ip + length > end)
		return DROP(p, outer);
	if (header > sizeof(*ip))
		return PASS(p, options);
	if (header_sum(ip) != 0xffff)
		return DROP(p, checksum);
	p->payload = length - sizeof(*ip);
	p->tos = ip->tos;
	return NEXT;
}

/* RFC 6040 §4.2, as __INET_ECN_decapsulate() in include/net/inet_ecn.h: a congestion mark of the
 * tunnel reaches the receiver, or, if the sender does not speak ECN, is told by a loss.
 */
static __always_inline int merge_ecn(struct packet *p, struct iphdr *inner)
{
	__u8 mark = p->tos & ECN_MASK, own = inner->tos & ECN_MASK, tos;
	__u32 sum;

	if (mark == ECN_CE && !own)
		return DROP(p, ecn);
	if (mark != ECN_CE && !(mark == ECN_ECT_1 && own == ECN_ECT_0))
		return NEXT;
	tos = (inner->tos & ~ECN_MASK) | mark;
	/* RFC 1624, HC' = ~(~HC + ~m + m'); TOS is its word's second byte. At most 0x2fffd: two folds. */
	sum = (__u16)~inner->check + (__u16)~bpf_htons(inner->tos) + bpf_htons(tos);
	sum = (sum & 0xffff) + (sum >> 16);
	inner->check = ~((sum & 0xffff) + (sum >> 16));
	inner->tos = tos;
	return NEXT;
}

static __always_inline int parse_inner(struct packet *p)
{
	struct iphdr *ip = frame_start(p) + p->network + sizeof(struct iphdr);
	struct address vip = {};
	void *end = frame_end(p);
	__u32 length;

	if ((void *)(ip + 1) > end || p->payload < sizeof(*ip) || ip->version != 4)
		return DROP(p, inner);
	vip.word[2] = bpf_htonl(0xffff);
	vip.word[3] = ip->daddr;
	if (!vips.lookup(&vip))
		return PASS(p, not_vip);
	length = host_length(ip->tot_len);
	if (ip->ihl < 5 || length < ip->ihl * 4 || length > p->payload)
		return DROP(p, inner);
	if (ip->protocol == IPPROTO_IPIP || ip->protocol == IPPROTO_IPV6 ||
	    ip->protocol == IPPROTO_GRE)
		return DROP(p, nested);
	return merge_ecn(p, ip);
}

/* Moves the link header up to the inner packet, last word first, since with two tags the places
 * overlap, and cuts off what is left before it.
 */
static __always_inline int strip_outer(struct packet *p)
{
	const int shift = sizeof(struct iphdr);
	__be16 *from = frame_start(p);

	/* For the verifier: a frame with both headers is longer than this. */
	if ((void *)from + LINK_BYTES + shift > frame_end(p))
		return DROP(p, no_head);
#pragma unroll
	for (int i = LINK_BYTES / 2 - 1; i >= 0; i--)
		if (i * 2 < p->network)
			from[i + shift / 2] = from[i];
	if (bpf_xdp_adjust_head(p->ctx, shift))
		return DROP(p, no_head);
	return FATE(p, XDP_PASS, decapsulated);
}

static __always_inline int unwrap(struct packet *p)
{
	int verdict;

	if ((verdict = parse_link(p)) != NEXT)
		return verdict;
	if ((verdict = parse_outer(p)) != NEXT)
		return verdict;
	if ((verdict = parse_inner(p)) != NEXT)
		return verdict;
	return strip_outer(p);
}

int decap(struct xdp_md *ctx)
{
	struct packet p = { .ctx = ctx };
	int verdict = unwrap(&p);
	__u32 zero = 0, fate = p.fate;
	struct counters *all = counters.lookup(&zero);

	if (all && fate < COUNTERS)
		((__u64 *)all)[fate]++;
	return verdict;
}
