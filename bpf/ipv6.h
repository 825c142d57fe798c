/* SPDX-License-Identifier: GPL-2.0-only */
/* The IPv6 header and extension headers (RFC 8200), for parse.h. */
#ifndef XDPLB_IPV6_H
#define XDPLB_IPV6_H

#include "bounds.h"
#include "verifier.h"

#define IPV6_LENGTH ((int)sizeof(struct ipv6hdr))

/* How many extension headers are skipped, a fragment header included. No host sends more, and the
 * verifier can walk this many.
 */
#define EXTENSIONS 4

#define ICMPV6_INFORMATIONAL 0x80

#define TRANSPORT_MASK 0x3fff /* the largest transport offset behind them, rounded up */
#define EXTENSION_UNIT 8      /* bytes */

/* The first words of an extension header, and all of a fragment header. */
struct extension {
	__u8 next;
	__u8 length; /* in units of 8 bytes, without the first unit; reserved in a fragment header */
	union {
		struct {
			__u8 routing_type;
			__u8 segments_left;
		};
		__be16 offset; /* of a fragment, in units of 8 bytes, and flags */
	};
	__be32 id; /* of the fragmented packet */
};

static __always_inline bool same_address(const struct in6_addr *one, const struct in6_addr *other)
{
	const struct address *a = (const void *)one, *b = (const void *)other;

	return a->high == b->high && a->low == b->low;
}

/* Addresses that the tables use for something else: v4-mapped addresses are IPv4 VIPs, and the
 * unspecified address is an empty entry. The kernel drops IPv6 packets that have one.
 */
static __always_inline bool is_reserved(const struct address *address)
{
	return !address->high && (!address->low || (__u32)address->low == bpf_htonl(0xffff));
}

static __always_inline int read_ipv6_addresses(struct packet *p, const struct ipv6hdr *ip,
					       const void *end)
{
	if ((void *)(ip + 1) > end)
		return PASS(p, truncated);
	p->protocol = ip->nexthdr;
	p->client = *(struct address *)&ip->saddr;
	p->vip = *(struct address *)&ip->daddr;
	return is_reserved(&p->vip) ? PASS(p, not_vip) : NEXT;
}

static __always_inline bool is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_FRAGMENT;
}

/* Paths through find_vip() leave different values here. Without this, the verifier walks the loop
 * over the extension headers once for each path (twelve times as many instructions in all).
 */
static __always_inline void forget_addresses(struct packet *p)
{
	p->tags = forget(p->tags, p->client.low);
	p->vip_id = forget(p->vip_id, p->client.low);
	p->vip.high = forget(p->vip.high, p->client.low);
	p->vip.low = forget(p->vip.low, p->client.low);
}

/* Finds the transport header or, in a later fragment, the data behind the fragment header. A
 * fragment that is the whole packet is no fragment (RFC 6946). A packet with a routing header that
 * names more hosts is not for this VIP yet: it is passed up. If a fifth extension header follows,
 * parse_ports() rejects it as an unknown protocol.
 */
static __always_inline int skip_extensions(struct packet *p)
{
	__u64 known;

	forget_addresses(p);
#pragma unroll
	for (int i = 0; i < EXTENSIONS; i++) {
		struct extension *extension = frame_start(p) + p->transport;

		if (!is_extension(p->protocol))
			break;
		if (p->transport + EXTENSION_UNIT > IP_AT + p->length ||
		    (void *)(extension + 1) > frame_end(p))
			return missing_header(p, p->transport + EXTENSION_UNIT);
		if (p->protocol == IPPROTO_ROUTING && extension->segments_left)
			return PASS(p, protocol);
		p->transport += EXTENSION_UNIT;
		if (p->protocol != IPPROTO_FRAGMENT) {
			p->transport += EXTENSION_UNIT * extension->length;
		} else if (p->fragment) {
			return PASS(p, fragment); /* a fragment of a fragment */
		} else {
			p->fragment = fragment_bits(p, extension->offset);
			p->fragment_id = extension->id;
			if (is_later_fragment(p))
				break;
		}
		p->protocol = extension->next;
	}
	if (p->transport > IP_AT + p->length)
		return DROP(p, truncated);
	known = forget(p->transport << 8 | p->protocol, p->vip.low);
	p->transport = known >> 8 & TRANSPORT_MASK;
	p->protocol = known;
	p->fragment = forget(p->fragment, p->vip.low);
	p->fragment_id = forget(p->fragment_id, p->vip.low);
	return NEXT;
}

/* Whether it is an ICMPv6 message but not an error. Errors have types below 128 (RFC 4443 §2.1). */
static __always_inline bool is_informational(const struct packet *p, const struct ipv6hdr *ip)
{
	const __u8 *type = (const __u8 *)(ip + 1);

	return ip->nexthdr == IPPROTO_ICMPV6 &&
	       ((void *)(type + 1) > frame_end(p) || *type & ICMPV6_INFORMATIONAL);
}

/* Neighbour discovery is ICMPv6, and is passed up before any check. So is a jumbogram (RFC 2675),
 * whose length is in a hop-by-hop header: it is too long for every tunnel.
 */
static __always_inline int check_ipv6(struct packet *p)
{
	struct ipv6hdr *ip = frame_start(p) + IP_AT;
	int verdict;

	if ((void *)(ip + 1) > frame_end(p))
		return DROP(p, malformed);
	if (is_informational(p, ip))
		return PASS(p, icmp);
	if (!ip->payload_len && p->protocol == IPPROTO_HOPOPTS)
		return PASS(p, protocol);
	p->length = IPV6_LENGTH + host_length(ip->payload_len);
	if (*(__u8 *)ip >> 4 != 6)
		return DROP(p, malformed);
	if ((verdict = check_length(p)) != NEXT)
		return verdict;
	if (ip->hop_limit <= 1)
		return PASS(p, ttl);
	p->transport = IP_AT + IPV6_LENGTH;
	if (p->rare)
		return skip_extensions(p);
	return is_extension(p->protocol) ? HAND_OVER_RARE(p) : NEXT;
}

#endif
