/* SPDX-License-Identifier: GPL-2.0-only */
/* What all tunnels have in common: the room, the link's header, and an outer IPv4 header as
 * net/netfilter/ipvs/ip_vs_xmit.c writes it.
 */
#ifndef XDPLB_OUTER_H
#define XDPLB_OUTER_H

#include "csum.h"
#include "parse.h"
#include "spread.h"

/* The header as the five words it is, for one store each; on a little-endian host a word's first byte is its
 * lowest.
 */
struct outer_header {
	__u32 length;   /* version and IHL, TOS, total length */
	__u32 fragment; /* ID, flags and offset */
	__u32 check;    /* TTL, protocol, checksum */
	__be32 saddr;
	__be32 daddr;
};

/* A real's struct tunnel, as the one word it is: Python may be replacing it, and the compiler would take a struct
 * apart and put it together again.
 */
static __always_inline __u64 read_tunnel(const struct real *real)
{
	return *(volatile __u32 *)&real->tunnel;
}

static __always_inline bool is_ipip(__u64 tunnel)
{
	return tunnel >> 16 == TUNNEL_IPIP;
}

static __always_inline __u8 tunnel_kind(__u64 tunnel)
{
	return tunnel >> 16;
}

static __always_inline bool tunnel_checksum(__u64 tunnel)
{
	return tunnel >> 24;
}

/* Moves the head by `added` bytes and writes the link's header. Returns: the place of the outer header, with the
 * client's IP header `added` bytes behind it; NULL: there was no room.
 */
static __always_inline struct outer_header *make_room(struct packet *p, const struct hop *hop,
						      int added)
{
	struct macs *macs;
	__be16 *ethertype;

	if (!move_head(p, -added))
		return NULL;
	macs = frame_start(p);
	ethertype = (__be16 *)(macs + 1);
	if ((void *)(ethertype + 1) + added + sizeof(struct iphdr) > frame_end(p))
		return NULL;
	*macs = hop->macs;
	*ethertype = bpf_htons(ETH_P_IP);
	return (void *)(ethertype + 1);
}

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
static __always_inline void write_outer(const struct packet *p, const struct real *real,
					__u64 tunnel, struct outer_header *outer,
					struct iphdr *inner, int added, __u8 protocol)
{
	__u64 length = bpf_htons(p->length + added);
	__u64 tos = (__u64)inner->tos << 8;
	__u64 flags = inner->frag_off & bpf_htons(IP_DONT_FRAGMENT);
	__u64 id = outer_id(flags);
	__u64 ttl = decrease_ttl(inner);
	__u64 sum = (tunnel & 0xffff) + tos + length + id + flags + ttl;
	__u64 source = v4_part(&real->source);

	if (!is_ipip(tunnel)) {
		source = spread_source(p, real);
		sum += (source & 0xffff) + (source >> 16);
	}
	outer->length = IP_VERSION_IHL | tos | length << 16;
	outer->fragment = id | flags << 16;
	outer->check = ttl | protocol << 8 | csum_fold(sum) << 16;
	outer->saddr = source;
	outer->daddr = v4_part(&real->address);
}

#endif
