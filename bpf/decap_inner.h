/* SPDX-License-Identifier: GPL-2.0-only */
/* The second half of the unwrapper: the inner packet and its congestion mark. */
#ifndef XDPLB_DECAP_INNER_H
#define XDPLB_DECAP_INNER_H

#include "decap_outer.h"

#define ECN_ECT_1 1
#define ECN_ECT_0 2
#define ECN_CE 3
#define EXTENSIONS 4 /* how many extension headers of an inner IPv6 packet are skipped */

/* Merges the outer congestion mark into the inner one, as RFC 6040 §4.2 and
 * __INET_ECN_decapsulate() in include/net/inet_ecn.h do. If the sender does not support ECN, a
 * congestion mark becomes a loss. Returns: the new inner mark; negative: drop the packet.
 */
static __always_inline int merge_ecn(__u8 mark, __u8 own)
{
	if (mark == ECN_CE)
		return own ? ECN_CE : -1;
	return mark == ECN_ECT_1 && own == ECN_ECT_0 ? mark : own;
}

static __always_inline int mark_ipv4(struct packet *p, struct iphdr *ip)
{
	int mark = merge_ecn(p->ecn, ip->tos & ECN_MASK);
	__u8 tos = (ip->tos & ~ECN_MASK) | mark;
	__u32 sum;

	if (mark < 0)
		return DROP(p, ecn);
	if (tos == ip->tos)
		return NEXT;
	/* RFC 1624: HC' = ~(~HC + ~m + m'). TOS is the second byte of its word. The sum is at most
	 * 0x2fffd, so two folds suffice.
	 */
	sum = (__u16)~ip->check + (__u16)~bpf_htons(ip->tos) + bpf_htons(tos);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~((sum & 0xffff) + (sum >> 16));
	ip->tos = tos;
	return NEXT;
}

static __always_inline int mark_ipv6(struct packet *p, struct ipv6hdr *ip)
{
	__u8 *byte = (__u8 *)ip + 1;
	int mark = merge_ecn(p->ecn, *byte >> IPV6_ECN_SHIFT & ECN_MASK);

	if (mark < 0)
		return DROP(p, ecn);
	*byte = (*byte & ~(ECN_MASK << IPV6_ECN_SHIFT)) | mark << IPV6_ECN_SHIFT;
	return NEXT;
}

static __always_inline bool is_tunnel(__u8 protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_GRE;
}

static __always_inline int parse_inner_ipv4(struct packet *p)
{
	struct iphdr *ip = frame_start(p) + p->network + p->shift;
	struct address vip;
	__u32 length;

	if ((void *)(ip + 1) > frame_end(p) || p->payload < sizeof(*ip) || ip->version != 4)
		return DROP(p, inner);
	map_address(vip.word, ip->daddr);
	if (!vips.lookup(&vip))
		return PASS(p, not_vip);
	length = host_length(ip->tot_len);
	if (ip->ihl < 5 || length < ip->ihl * 4 || length > p->payload)
		return DROP(p, inner);
	if (is_tunnel(ip->protocol))
		return DROP(p, nested);
	return mark_ipv4(p, ip);
}

/* The protocol behind an IPv6 packet's extension headers, as far as they are skipped and the frame
 * reaches. Each extension header begins with the next header's number and its own length, in words
 * of 8 bytes without the first word. A fragment header has a fixed length (RFC 8200 §4).
 */
static __always_inline __u8 payload_protocol(const struct packet *p, const struct ipv6hdr *ip)
{
	__u8 protocol = ip->nexthdr;
	const __u8 *at = (const __u8 *)(ip + 1);

#pragma unroll
	for (int i = 0; i < EXTENSIONS; i++) {
		__u8 next;

		if (!is_extension(protocol) || (void *)(at + 2) > frame_end(p))
			break;
		next = at[0];
		at += 8 + (protocol == IPPROTO_FRAGMENT ? 0 : 8 * at[1]);
		protocol = next;
	}
	return protocol;
}

static __always_inline int parse_inner_ipv6(struct packet *p)
{
	struct ipv6hdr *ip = frame_start(p) + p->network + p->shift;
	struct address vip;

	if ((void *)(ip + 1) > frame_end(p) || p->payload < sizeof(*ip) || ip->version != 6)
		return DROP(p, inner);
	copy_address(vip.word, &ip->daddr);
	if (is_mapped(&ip->daddr) || !vips.lookup(&vip))
		return PASS(p, not_vip);
	if (sizeof(*ip) + host_length(ip->payload_len) > p->payload)
		return DROP(p, inner);
	if (is_tunnel(payload_protocol(p, ip)))
		return DROP(p, nested);
	return mark_ipv6(p, ip);
}

static __always_inline int parse_inner(struct packet *p)
{
	return p->inner == bpf_htons(ETH_P_IP) ? parse_inner_ipv4(p) : parse_inner_ipv6(p);
}

#endif
