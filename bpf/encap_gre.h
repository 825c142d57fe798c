/* SPDX-License-Identifier: GPL-2.0-only */
/* Generic Routing Encapsulation (RFC 2784, RFC 7676), with or without a checksum:
 *
 *	| Ethernet | IP DIP → RIP, protocol 47 | C, 0x0800 or 0x86dd | (checksum, 0) | IP CIP → VIP | TCP or UDP | …
 *	            \____________________________ added ____________________________/ \__ the client's packet, TTL - 1
 */
#ifndef XDPLB_ENCAP_GRE_H
#define XDPLB_ENCAP_GRE_H

#include "inner_csum.h"
#include "outer.h"
#include "tunnel.h"

/* The length of the GRE header. */
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
	gre->ethertype = inner_ethertype(p);
	return NEXT;
}

/* The checksum covers the GRE header and all behind it. For a datagram without a checksum of its
 * own, it could only be computed by reading the whole packet. Such a packet is sent without a GRE
 * checksum.
 */
static __always_inline int encapsulate_gre(struct packet *p, const struct real *real,
					   const struct hop *hop, __u64 tunnel, int outer)
{
	int added = outer_length(outer) + gre_length(true);
	struct gre_checksum *checksum;
	struct gre_header *gre;
	void *header;
	__u64 sum;

	if (!tunnel_checksum(tunnel) || !sum_inner(p, &sum))
		return encapsulate_gre_plain(p, real, hop, tunnel, outer);
	header = make_room(p, hop, outer, added);
	if (!header)
		return DROP(p, headroom);
	gre = header + outer_length(outer);
	checksum = (void *)(gre + 1);
	write_outer(p, real, tunnel, header, outer, added, IPPROTO_GRE);
	gre->flags = bpf_htons(GRE_CHECKSUM_PRESENT);
	gre->ethertype = inner_ethertype(p);
	checksum->check = csum_fold(sum + gre->flags + gre->ethertype);
	checksum->reserved = 0;
	return NEXT;
}

#endif
