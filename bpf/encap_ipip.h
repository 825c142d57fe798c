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

/* The header as the five words it is, for one store each; on a little-endian host a word's first byte is its
 * lowest.
 */
struct ipip_header {
	__u32 length;   /* version and IHL, TOS, total length */
	__u32 fragment; /* ID, flags and offset */
	__u32 check;    /* TTL, protocol, checksum */
	__be32 saddr;
	__be32 daddr;
};

/* With DF an atomic datagram needs no ID (RFC 6864 §4.1), and the kernel sends 0; without, it must differ
 * between packets of one DIP and RIP that are on the way together.
 */
static __always_inline __be16 outer_id(__be16 dont_fragment)
{
	return dont_fragment ? 0 : bpf_get_prandom_u32() & 0xffff;
}

/* Also decrements the client packet's TTL, as __ip_vs_get_out_rt() does. ECN is copied: RFC 6040 §4.1, normal
 * mode.
 */
static __always_inline void write_ipip(const struct packet *p, const struct real *real,
				       struct ipip_header *outer)
{
	struct iphdr *inner = (void *)(outer + 1);
	__u64 length = bpf_htons(p->length + IPIP_LENGTH);
	__u64 tos = (__u64)inner->tos << 8;
	__u64 flags = inner->frag_off & bpf_htons(IP_DONT_FRAGMENT);
	__u64 id = outer_id(flags);
	__u64 ttl = decrease_ttl(inner);
	__u64 sum = real->header_sum + tos + length + id + flags + ttl;

	outer->length = IP_VERSION_IHL | tos | length << 16;
	outer->fragment = id | flags << 16;
	outer->check = ttl | IPPROTO_IPIP << 8 | csum_fold(sum) << 16;
	outer->saddr = v4_part(&real->source);
	outer->daddr = v4_part(&real->address);
}

#endif
