/* SPDX-License-Identifier: GPL-2.0-only */
/* ICMP errors about a real's answers: some router on their way to the client refused one, too big for the next link
 * first of all (RFC 1191), and tells the VIP, which is the director:
 *
 *	| Ethernet | IPv4 router → VIP, protocol 1 | ICMP error | IPv4 VIP → client | ports, … |
 *	                                                         \__ the real's answer ______/
 *
 * The flow is the quoted packet's, its ends swapped; the real that has it is sent the error as it came. As
 * ip_vs_in_icmp(): it begins no flow, and where none is known the kernel gets it. Its checksum is the real's to check.
 */
#ifndef XDPLB_ICMP_ERROR_H
#define XDPLB_ICMP_ERROR_H

#include "parse.h"

/* RFC 792 has at least 8 bytes quoted behind the header. */
struct icmp_error {
	struct icmphdr icmp;
	struct iphdr quoted;
	__be16 source; /* ports */
	__be16 dest;
	__u32 more;
};

/* A quoted header with options is left to the kernel. A later fragment has no ports. */
static __always_inline bool quotes_flow(const struct icmp_error *error)
{
	const struct iphdr *ip = &error->quoted;

	if (error->icmp.type != ICMP_DEST_UNREACH && error->icmp.type != ICMP_SOURCE_QUENCH &&
	    error->icmp.type != ICMP_TIME_EXCEEDED)
		return false;
	return *(__u8 *)ip == IP_VERSION_IHL && !(ip->frag_off & bpf_htons(IP_OFFSET)) &&
	       (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP);
}

/* From an ICMP packet to the flow that it is about. */
static __always_inline int parse_error(struct packet *p)
{
	struct icmp_error *error;

	if (!p->rare || is_ipv6(p) || p->protocol != IPPROTO_ICMP)
		return NEXT;
	error = frame_start(p) + p->transport;
	if ((void *)(error + 1) > frame_end(p) ||
	    p->length < p->transport - IP_AT + sizeof(*error) || !quotes_flow(error) ||
	    error->quoted.saddr != v4_part(&p->vip))
		return PASS(p, icmp);
	p->error = 1;
	p->protocol = error->quoted.protocol;
	p->client.low = v4_mapped(error->quoted.daddr);
	p->client_port = error->dest;
	p->service_port = error->source;
	return NEXT;
}

/* Each of these would have the verifier walk the loop of reselect() once more. */
static __always_inline void forget_kind(struct packet *p)
{
	p->tags = forget(p->tags, p->client_port);
	p->protocol = forget(p->protocol, p->client_port);
	p->error = forget(p->error, p->client_port);
	p->fragment = forget(p->fragment, p->client_port);
	p->tcp_flags = forget(p->tcp_flags, p->client_port);
}

/* What an error is about may be nobody's any more, which is no fault of ours: the kernel gets it. */
static __always_inline int unless_error(struct packet *p, int verdict)
{
	return is_error(p) ? PASS(p, icmp) : verdict;
}

#endif
