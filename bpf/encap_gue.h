/* SPDX-License-Identifier: GPL-2.0-only */
/* Generic UDP Encapsulation, version 0 without options (draft-ietf-intarea-gue; include/net/gue.h):
 *
 *	| Ethernet | IPv4 DIP → RIP, protocol 17 | UDP flow → port | 0, protocol 4, 0 | IPv4 CIP → VIP | TCP or UDP | …
 *	            \__________________________ added __________________________/ \__ the client's packet, TTL - 1
 *
 * The source port is the flow's: routers, and the real's receive queues, share the load by it.
 */
#ifndef XDPLB_ENCAP_GUE_H
#define XDPLB_ENCAP_GUE_H

#include "carried.h"
#include "flow.h"
#include "outer.h"
#include "tunnel.h"

#define FIRST_DYNAMIC_PORT 0xc000 /* RFC 6335 §6, to the last: 14 bits of the flow's hash */
#define DYNAMIC_PORT_BITS 14

#define GUE_LENGTH ((int)(sizeof(struct outer_header) + sizeof(struct gue_header)))

static __always_inline __be16 flow_port(const struct packet *p)
{
	__u64 hash = hash_flow(p, &p->director->config, p->protocol);

	return bpf_htons(FIRST_DYNAMIC_PORT | (hash << 1 >> (64 - DYNAMIC_PORT_BITS)));
}

/* The pseudo header's sum, and that of what it is about; a sum of 0 is sent as 0xffff (RFC 768). */
static __always_inline __u16 gue_checksum(const struct outer_header *outer,
					  const struct gue_header *gue, __u64 sum)
{
	__u64 source = outer->saddr, destination = outer->daddr;
	__u16 check;

	sum += (source & 0xffff) + (source >> 16) + (destination & 0xffff) + (destination >> 16);
	sum += bpf_htons(IPPROTO_UDP) + gue->udp.len; /* of the pseudo header */
	sum += (__u64)gue->udp.source + gue->udp.dest + gue->udp.len;
	sum += bpf_htons(IPPROTO_IPIP); /* GUE's own header: its one byte that is not 0 */
	check = csum_fold(sum);
	return check ? check : 0xffff;
}

static __always_inline int encapsulate_gue(struct packet *p, const struct real *real,
					   const struct hop *hop, __u64 tunnel)
{
	__u64 sum = 0;
	bool summed = tunnel_checksum(tunnel) && sum_carried(p, &sum);
	struct outer_header *outer = make_room(p, hop, GUE_LENGTH);
	struct gue_header *gue = (void *)(outer + 1);

	if (!outer)
		return DROP(p, headroom);
	write_outer(p, real, tunnel, outer, (void *)(gue + 1), GUE_LENGTH, IPPROTO_UDP);
	gue->udp.source = flow_port(p);
	gue->udp.dest = real->tunnel_port;
	gue->udp.len = bpf_htons(p->length + GUE_LENGTH - (int)sizeof(*outer));
	gue->version_length = 0;
	gue->protocol = IPPROTO_IPIP;
	gue->flags = 0;
	gue->udp.check = summed ? gue_checksum(outer, gue, sum) : 0;
	return NEXT;
}

#endif
