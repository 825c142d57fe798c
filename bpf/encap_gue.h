/* SPDX-License-Identifier: GPL-2.0-only */
/* Generic UDP Encapsulation, version 0 without options (draft-ietf-intarea-gue; include/net/gue.h):
 *
 *	| Ethernet | IP DIP → RIP, protocol 17 | UDP flow → port | 0, protocol 4 or 41, 0 | IP CIP → VIP | TCP or UDP | …
 *	            \_____________________________ added ______________________________/ \__ the client's packet, TTL - 1
 *
 * The source port depends on the flow. Routers and the real's receive queues hash it to share the
 * load.
 */
#ifndef XDPLB_ENCAP_GUE_H
#define XDPLB_ENCAP_GUE_H

#include "inner_csum.h"
#include "flow.h"
#include "outer.h"
#include "tunnel.h"

#define FIRST_DYNAMIC_PORT 0xc000 /* RFC 6335 §6: the dynamic ports are 0xc000 to 0xffff */
#define DYNAMIC_PORT_BITS 14

#define GUE_LENGTH ((int)sizeof(struct gue_header)) /* with the UDP header */

static __always_inline __be16 flow_port(const struct packet *p)
{
	__u64 hash = hash_flow(p, &p->director->config, p->protocol);

	return bpf_htons(FIRST_DYNAMIC_PORT | (hash << 1 >> (64 - DYNAMIC_PORT_BITS)));
}

/* The sum of the outer addresses as they were written: the source may depend on the flow. */
static __always_inline __u64 sum_outer(const struct real *real, const void *header, int outer)
{
	const struct outer_ipv6 *ipv6 = header;
	const struct outer_ipv4 *ip = header;
	__u64 source = ip->saddr;

	if (outer == AF_INET6)
		return sum_address(&ipv6->saddr, outer) + sum_address(&real->address, outer);
	return (source & 0xffff) + (source >> 16) + sum_address(&real->address, outer);
}

/* The UDP checksum, over at most 40 words of 16 bits. A checksum of 0 is sent as 0xffff (RFC 768).
 */
static __always_inline __u16 gue_checksum(const struct packet *p, const struct gue_header *gue,
					  __u64 sum)
{
	__u16 check;

	sum += bpf_htons(IPPROTO_UDP) + gue->udp.len; /* the pseudo header's */
	sum += (__u64)gue->udp.source + gue->udp.dest + gue->udp.len;
	sum += bpf_htons(inner_protocol(p)); /* the GUE header's only byte that is not 0 */
	check = csum_fold(sum);
	return check ? check : 0xffff;
}

static __always_inline int encapsulate_gue(struct packet *p, const struct real *real,
					   const struct hop *hop, __u64 tunnel, int outer)
{
	__u64 sum = 0;
	bool summed = tunnel_checksum(tunnel) && sum_inner(p, &sum);
	int added = outer_length(outer) + GUE_LENGTH;
	void *header = make_room(p, hop, outer, added);
	struct gue_header *gue = header + outer_length(outer);

	if (!header)
		return DROP(p, headroom);
	write_outer(p, real, tunnel, header, outer, added, IPPROTO_UDP);
	gue->udp.source = flow_port(p);
	gue->udp.dest = real->tunnel_port;
	gue->udp.len = bpf_htons(p->length + GUE_LENGTH);
	gue->version_length = 0;
	gue->protocol = inner_protocol(p);
	gue->flags = 0;
	gue->udp.check = summed ? gue_checksum(p, gue, sum + sum_outer(real, header, outer)) : 0;
	return NEXT;
}

#endif
