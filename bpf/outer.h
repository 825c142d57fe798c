/* SPDX-License-Identifier: GPL-2.0-only */
/* What all tunnels share: the room before the packet, the Ethernet header, and the outer IP header,
 * which is written as in net/netfilter/ipvs/ip_vs_xmit.c. The parameter `outer` is the outer
 * family, a constant wherever it is tested.
 */
#ifndef XDPLB_OUTER_H
#define XDPLB_OUTER_H

#include "csum.h"
#include "parse.h"
#include "outer_source.h"

/* The outer headers as words, for one store each. On a little-endian host the first byte of a word
 * is its lowest.
 */
struct outer_ipv4 {
	__u32 length;   /* version and IHL, TOS, total length */
	__u32 fragment; /* ID, flags and offset */
	__u32 check;    /* TTL, protocol, checksum */
	__be32 saddr;
	__be32 daddr;
};

struct outer_ipv6 {
	__be32 flow;  /* version, traffic class, flow label */
	__u32 length; /* payload length, next header, hop limit */
	struct address saddr;
	struct address daddr;
};

/* Reads a real's struct tunnel as one word, because Python may be replacing it. From a struct, the
 * compiler would build the word again field by field.
 */
static __always_inline __u64 read_tunnel(const struct real *real)
{
	return *(volatile __u32 *)&real->tunnel;
}

/* Whether it is the default: IP in IPv4. */
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
	return tunnel >> 24 & TUNNEL_CHECKSUM;
}

static __always_inline int outer_family(__u64 tunnel)
{
	return tunnel >> 24 & TUNNEL_OUTER_IPV6 ? AF_INET6 : AF_INET;
}

static __always_inline int outer_length(int outer)
{
	return outer == AF_INET6 ? sizeof(struct outer_ipv6) : sizeof(struct outer_ipv4);
}

/* How a tunnel's headers name the client's packet. */
static __always_inline __u8 inner_protocol(const struct packet *p)
{
	return is_ipv6(p) ? IPPROTO_IPV6 : IPPROTO_IPIP;
}

static __always_inline __be16 inner_ethertype(const struct packet *p)
{
	return bpf_htons(is_ipv6(p) ? ETH_P_IPV6 : ETH_P_IP);
}

/* Moves the frame's head by `added` bytes and writes the Ethernet header. Returns: the place of the
 * outer IP header; the client's IP header is `added` bytes behind it. NULL if there was no room.
 */
static __always_inline void *make_room(struct packet *p, const struct hop *hop, int outer,
				       int added)
{
	int inner_length = is_ipv6(p) ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct macs *macs;
	__be16 *ethertype;

	if (!move_head(p, -added))
		return NULL;
	macs = frame_start(p);
	ethertype = (__be16 *)(macs + 1);
	if ((void *)(ethertype + 1) + added + inner_length > frame_end(p))
		return NULL;
	*macs = hop->macs;
	*ethertype = bpf_htons(outer == AF_INET6 ? ETH_P_IPV6 : ETH_P_IP);
	return ethertype + 1;
}

/* What the outer header copies from the inner one. */
struct inherited {
	__u64 class; /* TOS or traffic class, with ECN: RFC 6040 §4.1, normal mode */
	__u64 flags; /* DF, as in the IPv4 header; 0 for an IPv6 packet, as in IPVS */
	__u64 ttl; /* or hop limit; the client's packet is decremented first, as in __ip_vs_get_out_rt() */
};

/* With DF set, the datagram is atomic and needs no ID (RFC 6864 §4.1); the kernel sends 0. Without
 * DF, packets of one DIP and RIP that are on the way at the same time need different IDs.
 */
static __always_inline __be16 outer_id(__be16 dont_fragment)
{
	return dont_fragment ? 0 : bpf_get_prandom_u32() & 0xffff;
}

static __always_inline struct inherited inherit(const struct packet *p, void *inner)
{
	struct iphdr *ip = inner;
	struct ipv6hdr *ipv6 = inner;

	if (is_ipv6(p))
		return (struct inherited){
			.class = bpf_ntohs(*(__be16 *)ipv6) >> 4 & 0xff,
			.ttl = --ipv6->hop_limit,
		};
	return (struct inherited){
		.class = ip->tos,
		.flags = ip->frag_off & bpf_htons(IP_DONT_FRAGMENT),
		.ttl = decrease_ttl(ip),
	};
}

static __always_inline void write_ipv4(const struct packet *p, const struct real *real,
				       __u64 tunnel, struct outer_ipv4 *ip, struct inherited from,
				       int added, __u8 protocol)
{
	__u64 length = bpf_htons(p->length + added);
	__u64 tos = from.class << 8;
	__u64 id = outer_id(from.flags);
	__u64 sum = (tunnel & 0xffff) + tos + length + id + from.flags + from.ttl;
	__u64 source = last_part(&real->source);

	if (!is_ipip(tunnel)) {
		source = outer_source(p, real);
		sum += (source & 0xffff) + (source >> 16);
	}
	ip->length = IP_VERSION_IHL | tos | length << 16;
	ip->fragment = id | from.flags << 16;
	ip->check = from.ttl | protocol << 8 | csum_fold(sum) << 16;
	ip->saddr = source;
	ip->daddr = last_part(&real->address);
}

/* The flow label is 0, as in IPVS. */
static __always_inline void write_ipv6(const struct packet *p, const struct real *real,
				       struct outer_ipv6 *ip, struct inherited from, int added,
				       __u8 protocol)
{
	__u64 length = bpf_htons(p->length + added - (int)sizeof(*ip));
	struct address source = real->source;

	source.low = (__u32)source.low | (__u64)outer_source(p, real) << 32;
	ip->flow = bpf_htonl(6 << 28 | from.class << 20);
	ip->length = length | protocol << 16 | from.ttl << 24;
	ip->saddr = source;
	ip->daddr = real->address;
}

static __always_inline void write_outer(const struct packet *p, const struct real *real,
					__u64 tunnel, void *header, int outer, int added,
					__u8 protocol)
{
	struct inherited from = inherit(p, header + added);

	if (outer == AF_INET6)
		write_ipv6(p, real, header, from, added, protocol);
	else
		write_ipv4(p, real, tunnel, header, from, added, protocol);
}

#endif
