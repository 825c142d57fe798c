/* SPDX-License-Identifier: GPL-2.0-only */
/* Generic Routing Encapsulation (RFC 2784), with its checksum or without:
 *
 *	| Ethernet | IPv4 DIP → RIP, protocol 47 | C, 0x0800 | (checksum, 0) | IPv4 CIP → VIP | TCP or UDP | …
 *	            \________________________ added ________________________/ \__ the client's packet, TTL - 1
 */
#ifndef XDPLB_ENCAP_GRE_H
#define XDPLB_ENCAP_GRE_H

#include "carried.h"
#include "outer.h"
#include "tunnel.h"

#define GRE_LENGTH ((int)(sizeof(struct outer_header) + sizeof(struct gre_header)))
#define GRE_CHECKSUM_LENGTH (GRE_LENGTH + (int)sizeof(struct gre_checksum))

static __always_inline int gre_length(__u64 tunnel)
{
	return tunnel_checksum(tunnel) ? GRE_CHECKSUM_LENGTH : GRE_LENGTH;
}

static __always_inline int encapsulate_gre_plain(struct packet *p, const struct real *real,
						 const struct hop *hop, __u64 tunnel)
{
	struct outer_header *outer = make_room(p, hop, GRE_LENGTH);
	struct gre_header *gre = (void *)(outer + 1);

	if (!outer)
		return DROP(p, headroom);
	write_outer(p, real, tunnel, outer, (void *)(gre + 1), GRE_LENGTH, IPPROTO_GRE);
	gre->flags = 0;
	gre->ethertype = bpf_htons(ETH_P_IP);
	return NEXT;
}

/* The checksum is of the GRE header and all that it carries. Of a datagram without a checksum of its own it is not
 * known without reading all of it: that one goes without GRE's too.
 */
static __always_inline int encapsulate_gre(struct packet *p, const struct real *real,
					   const struct hop *hop, __u64 tunnel)
{
	struct outer_header *outer;
	struct gre_header *gre;
	struct gre_checksum *checksum;
	__u64 sum;

	if (!tunnel_checksum(tunnel) || !sum_carried(p, &sum))
		return encapsulate_gre_plain(p, real, hop, tunnel);
	outer = make_room(p, hop, GRE_CHECKSUM_LENGTH);
	if (!outer)
		return DROP(p, headroom);
	gre = (void *)(outer + 1);
	checksum = (void *)(gre + 1);
	write_outer(p, real, tunnel, outer, (void *)(checksum + 1), GRE_CHECKSUM_LENGTH,
		    IPPROTO_GRE);
	gre->flags = bpf_htons(GRE_CHECKSUM_PRESENT);
	gre->ethertype = bpf_htons(ETH_P_IP);
	checksum->check = csum_fold(sum + gre->flags + gre->ethertype);
	checksum->reserved = 0;
	return NEXT;
}

#endif
