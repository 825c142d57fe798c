/* SPDX-License-Identifier: GPL-2.0-only */
/* IP in IP (RFC 2003), as net/netfilter/ipvs/ip_vs_xmit.c writes it:
 *
 *	| Ethernet | IPv4 DIP → RIP, protocol 4 | IPv4 CIP → VIP | TCP or UDP | …
 *	            \_________ added __________/ \__ the client's packet, TTL - 1
 */
#ifndef XDPLB_ENCAP_IPIP_H
#define XDPLB_ENCAP_IPIP_H

#include "csum.h"
#include "parse.h"

#define IPIP_LENGTH ((int)sizeof(struct iphdr))

/* The header as the five words it is: one store each, and the checksum sums what is stored. */
struct ipip_header {
	__u8 version_ihl;
	__u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off;
	__u8 ttl;
	__u8 protocol;
	__u16 check;
	__be32 saddr;
	__be32 daddr;
};

/* With DF an atomic datagram needs no ID (RFC 6864 §4.1), and the kernel sends 0; without, it must differ
 * between packets of one DIP and RIP that are on the way together.
 */
static __always_inline __be16 outer_id(__be16 dont_fragment)
{
	return dont_fragment ? 0 : bpf_get_prandom_u32();
}

/* Also decrements the client packet's TTL, as __ip_vs_get_out_rt() does. ECN is copied: RFC 6040 §4.1, normal
 * mode.
 */
static __always_inline void write_ipip(const struct packet *p, const struct real *real,
				       struct ipip_header *outer)
{
	struct iphdr *inner = (void *)(outer + 1);
	struct ipip_header header;

	inner->ttl--;
	inner->check = csum_after_ttl(inner->check);
	header = (struct ipip_header){
		.version_ihl = 0x45,
		.tos = inner->tos,
		.tot_len = bpf_htons(p->length + IPIP_LENGTH),
		.frag_off = inner->frag_off & bpf_htons(IP_DONT_FRAGMENT),
		.ttl = inner->ttl,
		.protocol = IPPROTO_IPIP,
		.saddr = v4_part(&real->source),
		.daddr = v4_part(&real->address),
	};
	header.id = outer_id(header.frag_off);
	header.check = csum_fold(real->header_sum + bpf_htons(header.tos) + header.tot_len +
				 header.id + header.frag_off + header.ttl);
	*outer = header;
}

#endif
