/* SPDX-License-Identifier: GPL-2.0-only */
/* ICMP errors about the real's answers. A router between real and client refused an answer, mostly
 * because it is too big for the next link (RFC 1191, RFC 8201). It informs the answer's source, the
 * VIP, so the error arrives at the director:
 *
 *	| Ethernet | IP router → VIP, protocol 1 or 58 | ICMP error | IP VIP → client | ports, … |
 *	                                                             \__ the real's answer ____/
 *
 * The error belongs to the quoted packet's flow, in the other direction. It is sent unchanged to
 * the real of that flow. As in ip_vs_in_icmp(), it begins no flow, and if there is no flow the
 * kernel gets it. Its checksum is checked by the real.
 */
#ifndef XDPLB_ICMP_ERROR_H
#define XDPLB_ICMP_ERROR_H

#include "parse.h"

/* RFC 792 requires a quote of at least 8 bytes behind the IP header, RFC 4443 of many more. */
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
	__be32 mtu; /* of "packet too big" */
	struct ipv6hdr quoted;
	struct quoted_ports ports; /* or a fragment header, and the ports behind it */
};

/* Whether the quote has the ports. The kernel gets errors whose quoted header has options. A later
 * fragment has no ports.
 */
static __always_inline bool quotes_flow(const struct icmp_error *error)
{
	const struct iphdr *ip = &error->quoted;

	if (error->icmp.type != ICMP_DEST_UNREACH && error->icmp.type != ICMP_SOURCE_QUENCH &&
	    error->icmp.type != ICMP_TIME_EXCEEDED)
		return false;
	return *(__u8 *)ip == IP_VERSION_IHL && !(ip->frag_off & bpf_htons(IP_OFFSET)) &&
	       has_ports(ip->protocol);
}

/* Whether the packet has `bytes` bytes from its transport header on, and the first buffer too. */
static __always_inline bool has_bytes(const struct packet *p, int bytes)
{
	return frame_start(p) + p->transport + bytes <= frame_end(p) &&
	       p->length >= p->transport - IP_AT + bytes;
}

static __always_inline int set_error_flow(struct packet *p, const struct quoted_ports *ports)
{
	p->error = 1;
	p->client_port = ports->dest;
	p->service_port = ports->source;
	return NEXT;
}

static __always_inline int parse_icmp_error(struct packet *p)
{
	struct icmp_error *error = frame_start(p) + p->transport;

	if (!has_bytes(p, sizeof(*error)) || !quotes_flow(error) ||
	    error->quoted.saddr != last_part(&p->vip))
		return PASS(p, icmp);
	p->protocol = error->quoted.protocol;
	p->client.low = v4_mapped(error->quoted.daddr);
	return set_error_flow(p, &error->ports);
}

/* Of any error type, as in ip_vs_in_icmp_v6(). */
static __always_inline bool is_icmpv6_error(const struct icmpv6_error *error)
{
	return !(error->type & ICMPV6_INFORMATIONAL) && *(__u8 *)&error->quoted >> 4 == 6;
}

/* The only extension header that is skipped in a quote is a first fragment's. Reals fragment large
 * UDP answers, and the real must learn to make smaller fragments.
 */
static __always_inline int parse_icmpv6_error(struct packet *p)
{
	struct icmpv6_error *error = frame_start(p) + p->transport;
	struct quoted_ports *ports = &error->ports;
	struct extension *fragment = (void *)ports;

	if (!has_bytes(p, sizeof(*error)) || !is_icmpv6_error(error) ||
	    !same_address(&error->quoted.saddr, (void *)&p->vip))
		return PASS(p, icmp);
	p->protocol = error->quoted.nexthdr;
	if (p->protocol == IPPROTO_FRAGMENT) {
		if (!has_bytes(p, sizeof(*error) + sizeof(*fragment)) ||
		    fragment->offset & bpf_htons(IPV6_OFFSET))
			return PASS(p, icmp);
		p->protocol = fragment->next;
		ports = (void *)(fragment + 1);
	}
	if (!has_ports(p->protocol))
		return PASS(p, icmp);
	p->client = *(struct address *)&error->quoted.daddr;
	return set_error_flow(p, ports);
}

/* Replaces an ICMP error's addresses, ports and protocol by those of its flow. */
static __always_inline int parse_error(struct packet *p)
{
	if (!p->rare || !is_icmp(p))
		return NEXT;
	return is_ipv6(p) ? parse_icmpv6_error(p) : parse_icmp_error(p);
}

#endif
