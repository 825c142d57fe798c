/* SPDX-License-Identifier: GPL-2.0-only */
/* ICMP errors about a real's answers: some router on their way to the client refused one, too big for the next link
 * first of all (RFC 1191, RFC 8201), and tells the VIP, which is the director:
 *
 *	| Ethernet | IP router → VIP, protocol 1 or 58 | ICMP error | IP VIP → client | ports, … |
 *	                                                             \__ the real's answer ____/
 *
 * The flow is the quoted packet's, its ends swapped; the real that has it is sent the error as it came. As
 * ip_vs_in_icmp(): it begins no flow, and where none is known the kernel gets it. Its checksum is the real's to check.
 */
#ifndef XDPLB_ICMP_ERROR_H
#define XDPLB_ICMP_ERROR_H

#include "parse.h"

/* RFC 792 has at least 8 bytes quoted behind the header, RFC 4443 many more. */
struct quoted_ports {
	__be16 source;
	__be16 dest;
	__u32 more;
};

struct icmp_error {
	struct icmphdr icmp;
	struct iphdr quoted;
	struct quoted_ports ports;
};

struct icmpv6_error {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 mtu; /* of packet too big */
	struct ipv6hdr quoted;
	struct quoted_ports ports; /* or a fragment's header, and they behind it */
};

/* A quoted header with options is left to the kernel. A later fragment has no ports. */
static __always_inline bool quotes_flow(const struct icmp_error *error)
{
	const struct iphdr *ip = &error->quoted;

	if (error->icmp.type != ICMP_DEST_UNREACH && error->icmp.type != ICMP_SOURCE_QUENCH &&
	    error->icmp.type != ICMP_TIME_EXCEEDED)
		return false;
	return *(__u8 *)ip == IP_VERSION_IHL && !(ip->frag_off & bpf_htons(IP_OFFSET)) &&
	       has_ports(ip->protocol);
}

/* Whether so many bytes from the transport's place on are the packet's, and at hand. */
static __always_inline bool has_behind(const struct packet *p, int bytes)
{
	return frame_start(p) + p->transport + bytes <= frame_end(p) &&
	       p->length >= p->transport - IP_AT + bytes;
}

static __always_inline int be_error(struct packet *p, const struct quoted_ports *ports)
{
	p->error = 1;
	p->client_port = ports->dest;
	p->service_port = ports->source;
	return NEXT;
}

static __always_inline int parse_icmp_error(struct packet *p)
{
	struct icmp_error *error = frame_start(p) + p->transport;

	if (!has_behind(p, sizeof(*error)) || !quotes_flow(error) ||
	    error->quoted.saddr != last_part(&p->vip))
		return PASS(p, icmp);
	p->protocol = error->quoted.protocol;
	p->client.low = v4_mapped(error->quoted.daddr);
	return be_error(p, &error->ports);
}

/* Of any type, as in ip_vs_in_icmp_v6(). */
static __always_inline bool is_icmpv6_error(const struct icmpv6_error *error)
{
	return !(error->type & ICMPV6_INFORMS) && *(__u8 *)&error->quoted >> 4 == 6;
}

/* Of a quoted packet's extension headers only a first fragment's is looked behind: large answers over UDP are cut by
 * the real, and it is the one who has to cut them smaller.
 */
static __always_inline int parse_icmpv6_error(struct packet *p)
{
	struct icmpv6_error *error = frame_start(p) + p->transport;
	struct quoted_ports *ports = &error->ports;
	struct extension *fragment = (void *)ports;

	if (!has_behind(p, sizeof(*error)) || !is_icmpv6_error(error) ||
	    !same_address(&error->quoted.saddr, (void *)&p->vip))
		return PASS(p, icmp);
	p->protocol = error->quoted.nexthdr;
	if (p->protocol == IPPROTO_FRAGMENT) {
		if (!has_behind(p, sizeof(*error) + sizeof(*fragment)) ||
		    fragment->offset & bpf_htons(IPV6_OFFSET))
			return PASS(p, icmp);
		p->protocol = fragment->next;
		ports = (void *)(fragment + 1);
	}
	if (!has_ports(p->protocol))
		return PASS(p, icmp);
	p->client = *(struct address *)&error->quoted.daddr;
	return be_error(p, ports);
}

/* From an ICMP packet to the flow that it is about. */
static __always_inline int parse_error(struct packet *p)
{
	if (!p->rare || !is_icmp(p))
		return NEXT;
	return is_ipv6(p) ? parse_icmpv6_error(p) : parse_icmp_error(p);
}

#endif
