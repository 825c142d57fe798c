/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv6's header and those that may stand between it and TCP's or UDP's (RFC 8200), as far as parse.h asks. */
#ifndef XDPLB_IPV6_H
#define XDPLB_IPV6_H

#include "jumbo.h"
#include "length.h"

#define IPV6_LENGTH ((int)sizeof(struct ipv6hdr))

/* Headers of extensions that are followed, a fragment's among them: more than any host sends, and few enough for the
 * verifier.
 */
#define EXTENSIONS 4

#define ICMPV6_INFORMS 0x80

#define TRANSPORT_MASK 0x3fff /* where it can be behind them */
#define EXTENSION_UNIT 8      /* bytes */

/* What they begin with, and all that a fragment's has. */
struct extension {
	__u8 next;
	__u8 length; /* in units, without the first; reserved in a fragment's */
	union {
		struct {
			__u8 routing_type;
			__u8 segments_left;
		};
		__be16 offset; /* of a fragment, in units, and flags */
	};
	__be32 id; /* of a fragmented packet */
};

static __always_inline bool same_address(const struct in6_addr *one, const struct in6_addr *other)
{
	const struct address *a = (const void *)one, *b = (const void *)other;

	return a->high == b->high && a->low == b->low;
}

/* What the tables hold and no IPv6 packet may have, for the kernel drops it: IPv4's VIPs are v4-mapped there, and
 * where there is none is the unspecified address.
 */
static __always_inline bool is_of_tables(const struct address *address)
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
	return is_of_tables(&p->vip) ? PASS(p, not_vip) : NEXT;
}

static __always_inline bool is_followed(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_FRAGMENT;
}

/* What was found so far would have the verifier walk all extensions once for each way to find it (and twelve times as
 * many instructions in all).
 */
static __always_inline void forget_ends(struct packet *p)
{
	p->tags = forget(p->tags, p->client.low);
	p->vip_id = forget(p->vip_id, p->client.low);
	p->vip.high = forget(p->vip.high, p->client.low);
	p->vip.low = forget(p->vip.low, p->client.low);
}

/* Up to the transport header, or to what a later fragment has of its packet, whatever that is. (A fragment that is all
 * of its packet is none: RFC 6946.) A packet that has further hosts to visit is not yet at the VIP: up, where it ends.
 * What is no transport header then, be it an extension beyond the last one followed, is parse_ports()'s to name.
 */
static __always_inline int skip_extensions(struct packet *p)
{
	__u64 known;

	forget_ends(p);
#pragma unroll
	for (int i = 0; i < EXTENSIONS; i++) {
		struct extension *extension = frame_start(p) + p->transport;

		if (!is_followed(p->protocol))
			break;
		if (p->transport + EXTENSION_UNIT > IP_AT + p->length ||
		    (void *)(extension + 1) > frame_end(p))
			return miss_header(p, p->transport + EXTENSION_UNIT);
		if (p->protocol == IPPROTO_ROUTING && extension->segments_left)
			return PASS(p, protocol);
		p->transport += EXTENSION_UNIT;
		if (p->protocol != IPPROTO_FRAGMENT) {
			p->transport += EXTENSION_UNIT * extension->length;
		} else if (p->fragment) {
			return PASS(p, fragment); /* of a fragment */
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

/* Whether it is an ICMPv6 message, but no error: those are below 128 (RFC 4443 §2.1). */
static __always_inline bool informs(const struct packet *p, const struct ipv6hdr *ip)
{
	const __u8 *type = (const __u8 *)(ip + 1);

	return ip->nexthdr == IPPROTO_ICMPV6 &&
	       ((void *)(type + 1) > frame_end(p) || *type & ICMPV6_INFORMS);
}

/* Neighbour discovery is ICMP, and must pass whatever it looks like. The length of a jumbogram (RFC 2675), which is
 * too long for any tunnel, stands in a header of its own: the kernel knows it.
 */
static __always_inline int check_ipv6(struct packet *p)
{
	struct ipv6hdr *ip = frame_start(p) + IP_AT;
	int verdict;

	if ((void *)(ip + 1) > frame_end(p))
		return DROP(p, malformed);
	if (informs(p, ip))
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
	return is_followed(p->protocol) ? HAND_OVER_RARE(p) : NEXT;
}

#endif
