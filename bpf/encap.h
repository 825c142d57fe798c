/* SPDX-License-Identifier: GPL-2.0-only */
/* From the client's packet to the tunnel's: makes room, and writes the link's header anew. Each kind of
 * tunnel has a header file of its own, encap_<kind>.h, that says how many bytes it adds and writes them.
 */
#ifndef XDPLB_ENCAP_H
#define XDPLB_ENCAP_H

#include "encap_ipip.h"

static __always_inline int write_link(struct packet *p, const struct hop *hop)
{
	struct ethhdr *eth = frame_start(p);

	if ((void *)(eth + 1) > frame_end(p))
		return DROP(p, headroom);
	__builtin_memcpy(eth->h_dest, hop->dst, sizeof(eth->h_dest));
	__builtin_memcpy(eth->h_source, hop->src, sizeof(eth->h_source));
	eth->h_proto = bpf_htons(ETH_P_IP);
	return NEXT;
}

/* Decrements the client packet's TTL, as ip_vs_tunnel_xmit() has it done by __ip_vs_get_out_rt(). */
static __always_inline int spend_ttl(struct packet *p)
{
	struct iphdr *ip = frame_start(p) + IP_AT;

	if ((void *)(ip + 1) > frame_end(p))
		return DROP(p, malformed);
	ip->ttl = --p->ttl;
	ip->check = csum_after_ttl(ip->check);
	return NEXT;
}

static __always_inline int encapsulate(struct packet *p, const struct real *real,
				       const struct hop *hop)
{
	int verdict;

	if ((verdict = spend_ttl(p)) != NEXT)
		return verdict;
	if (bpf_xdp_adjust_head(p->ctx, -IPIP_LENGTH))
		return DROP(p, headroom);
	if ((verdict = write_link(p, hop)) != NEXT)
		return verdict;
	return write_ipip(p, real);
}

#endif
