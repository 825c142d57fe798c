// SPDX-License-Identifier: GPL-2.0-only
/* A real server's unwrapper, for kernels without ipip: strips the tunnel's headers off what a director
 * sent, and hands the client's own packet to the stack.
 *
 *	| Ethernet, VLAN tags | IPv4 director → real, protocol 4           | IPv4 client → VIP | …   RFC 2003
 *	| Ethernet, VLAN tags | IPv4 director → real, protocol 47 | GRE    | IPv4 client → VIP | …   RFC 2784
 *	| Ethernet, VLAN tags | IPv4 director → real, UDP to GUE_PORT | GUE | IPv4 client → VIP | …   include/net/gue.h
 *	| Ethernet, VLAN tags | IPv4 client → VIP | …
 *
 * Only packets of a known director for a known VIP are touched; the VIP has to be a local address. Checksums
 * of GRE and UDP are not looked at: the packet inside has its own, and the stack checks them.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/udp.h>

#include "length.h"
#include "tunnel.h"
#include "decap_types.h"

#define IP_FRAGMENT 0x3fff /* more fragments, or an offset */
#define IP_OFFSET 0x1fff
#define ECN_MASK 3
#define ECN_ECT_1 1
#define ECN_ECT_0 2
#define ECN_CE 3

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

/* GRE of IPv4, with a checksum or without. Returns: its length, 0 if it is something else's. */
static __always_inline __u32 gre_length(const struct gre_header *gre, const void *end)
{
	if ((void *)(gre + 1) > end || gre->ethertype != bpf_htons(ETH_P_IP))
		return 0;
	if (gre->flags == bpf_htons(GRE_CHECKSUM_PRESENT))
		return sizeof(*gre) + sizeof(struct gre_checksum);
	return gre->flags ? 0 : sizeof(*gre);
}

/* GUE of IPv4, version 0 without options. Returns: its length with UDP's, 0 if it is something else's. */
static __always_inline __u32 gue_length(const struct gue_header *gue, const void *end)
{
	if ((void *)(gue + 1) > end || gue->udp.dest != bpf_htons(GUE_PORT) ||
	    gue->version_length || gue->protocol != IPPROTO_IPIP || gue->flags)
		return 0;
	return sizeof(*gue);
}

/* Which tunnel it is. Behind IP options, or in a later fragment, is no header of one. */
static __always_inline int parse_tunnel(struct packet *p, const struct iphdr *ip)
{
	const void *inside = ip + 1, *end = frame_end(p);
	__u32 length;

	p->shift = sizeof(*ip);
	if (ip->protocol == IPPROTO_IPIP)
		return NEXT;
	if (ip->ihl != 5 || ip->frag_off & bpf_htons(IP_OFFSET))
		return PASS(p, not_tunnel);
	if (ip->protocol == IPPROTO_GRE)
		length = gre_length(inside, end);
	else if (ip->protocol == IPPROTO_UDP)
		length = gue_length(inside, end);
	else
		return PASS(p, not_tunnel);
	p->shift += length;
	return length ? NEXT : PASS(p, not_tunnel);
}

/* The outer header: whose it is comes first, since what is no director's passes whatever it looks like. */
static __always_inline int parse_outer(struct packet *p)
{
	struct iphdr *ip = frame_start(p) + p->network;
	struct prefix from = { .length = 128 };
	void *end = frame_end(p);
	__u32 header, length;
	int verdict;

	if ((void *)(ip + 1) > end)
		return PASS(p, truncated);
	if ((verdict = parse_tunnel(p, ip)) != NEXT)
		return verdict;
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
	if (length < p->shift)
		return DROP(p, outer);
	p->payload = length - p->shift;
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
	if (mark == own || (mark != ECN_CE && !(mark == ECN_ECT_1 && own == ECN_ECT_0)))
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
	struct iphdr *ip = frame_start(p) + p->network + p->shift;
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

/* Cuts off all before the inner packet but as much as the link header takes, and writes that anew. */
static __always_inline int strip_outer(struct packet *p)
{
	struct link link, *place = frame_start(p);

	/* For the verifier, twice: a frame with both IP headers is longer than this. */
	if ((void *)(place + 1) > frame_end(p))
		return DROP(p, no_head);
	link = *place;
	if (bpf_xdp_adjust_head(p->ctx, p->shift))
		return DROP(p, no_head);
	place = frame_start(p);
	if ((void *)(place + 1) > frame_end(p))
		return DROP(p, no_head);
#pragma unroll
	for (int i = 0; i < LINK_BYTES / 2; i++)
		if (i * 2 < p->network)
			place->word[i] = link.word[i];
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
