/* SPDX-License-Identifier: GPL-2.0-only */
/* Generic Routing Encapsulation (RFC 2784, RFC 7676), with its checksum or without:
 *
 *	| Ethernet | IP DIP → RIP, protocol 47 | C, 0x0800 or 0x86dd | (checksum, 0) | IP CIP → VIP | TCP or UDP | …
 *	            \____________________________ added ____________________________/ \__ the client's packet, TTL - 1
 */
#ifndef XDPLB_ENCAP_GRE_H
#define XDPLB_ENCAP_GRE_H

#include "carried.h"
#include "outer.h"
#include "tunnel.h"

/* Of GRE's own header. */
static __always_inline int gre_length(bool summed)
{
	return sizeof(struct gre_header) + (summed ? sizeof(struct gre_checksum) : 0);
}

static __always_inline int encapsulate_gre_plain(struct packet *p, const struct real *real,
						 const struct hop *hop, __u64 tunnel, int outer)
{
	int added = outer_length(outer) + gre_length(false);
	void *header = make_room(p, hop, outer, added);
	struct gre_header *gre = header + outer_length(outer);

	if (!header)
		return DROP(p, headroom);
	write_outer(p, real, tunnel, header, outer, added, IPPROTO_GRE);
	gre->flags = 0;
	gre->ethertype = carried_ethertype(p);
	return NEXT;
}

/* The checksum is of the GRE header and all that it carries. Of a datagram without a checksum of its own it is not
 * known without reading all of it: that one goes without GRE's too.
 */
static __always_inline int encapsulate_gre(struct packet *p, const struct real *real,
					   const struct hop *hop, __u64 tunnel, int outer)
{
	int added = outer_length(outer) + gre_length(true);
	struct gre_checksum *checksum;
	struct gre_header *gre;
	void *header;
	__u64 sum;

	if (!tunnel_checksum(tunnel) || !sum_carried(p, &sum))
		return encapsulate_gre_plain(p, real, hop, tunnel, outer);
	header = make_room(p, hop, outer, added);
	if (!header)
		return DROP(p, headroom);
	gre = header + outer_length(outer);
	checksum = (void *)(gre + 1);
	write_outer(p, real, tunnel, header, outer, added, IPPROTO_GRE);
	gre->flags = bpf_htons(GRE_CHECKSUM_PRESENT);
	gre->ethertype = carried_ethertype(p);
	checksum->check = csum_fold(sum + gre->flags + gre->ethertype);
	checksum->reserved = 0;
	return NEXT;
}

#endif
