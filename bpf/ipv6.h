/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv6's header and those that may stand between it and TCP's or UDP's (RFC 8200), as far as parse.h asks. */
#ifndef XDPLB_IPV6_H
#define XDPLB_IPV6_H

#include "length.h"
#include "verdict.h"

#define IPV6_LENGTH ((int)sizeof(struct ipv6hdr))

/* Headers of extensions that are followed: more than any host sends, and few enough for the verifier. */
#define EXTENSIONS 4

#define TRANSPORT_MASK 0x3fff /* where it can be behind them */
#define EXTENSION_UNIT 8      /* bytes */

/* What all of them begin with. */
struct extension {
	__u8 next;
	__u8 length;       /* in units, without the first */
	__u8 routing_type; /* of a routing header: */
	__u8 segments_left;
};

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
	p->client = *(struct address *)&ip->saddr;
	p->vip = *(struct address *)&ip->daddr;
	return is_of_tables(&p->vip) ? PASS(p, not_vip) : NEXT;
}

static __always_inline bool is_followed(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_DSTOPTS;
}

/* Up to the transport header. A packet that has further hosts to visit is not yet at the VIP: up, where it ends. What
 * is no transport header then, be it an extension beyond the last one followed, is parse_ports()'s to name.
 */
static __always_inline int skip_extensions(struct packet *p)
{
	__u64 known;

#pragma unroll
	for (int i = 0; i < EXTENSIONS; i++) {
		struct extension *extension = frame_start(p) + p->transport;

		if (!is_followed(p->protocol))
			break;
		if (p->transport + EXTENSION_UNIT > IP_AT + p->length ||
		    (void *)(extension + 1) > frame_end(p))
			return DROP(p, malformed);
		if (p->protocol == IPPROTO_ROUTING && extension->segments_left)
			return PASS(p, protocol);
		p->protocol = extension->next;
		p->transport += EXTENSION_UNIT * (1 + extension->length);
	}
	if (p->transport > IP_AT + p->length)
		return DROP(p, malformed);
	known = forget(p->transport << 8 | p->protocol, p->vip.low);
	p->transport = known >> 8 & TRANSPORT_MASK;
	p->protocol = known;
	return p->protocol == IPPROTO_FRAGMENT ? PASS(p, fragment) : NEXT;
}

/* Neighbour discovery is ICMP, and must pass whatever it looks like. The length of a jumbogram (RFC 2675), which is
 * too long for any tunnel, stands in a header of its own: the kernel knows it.
 */
static __always_inline int check_ipv6(struct packet *p)
{
	struct ipv6hdr *ip = frame_start(p) + IP_AT;
	void *end = frame_end(p);

	if ((void *)(ip + 1) > end)
		return DROP(p, malformed);
	p->protocol = ip->nexthdr;
	if (p->protocol == IPPROTO_ICMPV6)
		return PASS(p, icmp);
	if (!ip->payload_len && p->protocol == IPPROTO_HOPOPTS)
		return PASS(p, protocol);
	p->length = IPV6_LENGTH + host_length(ip->payload_len);
	if (*(__u8 *)ip >> 4 != 6 || (void *)ip + p->length > end)
		return DROP(p, malformed);
	if (ip->hop_limit <= 1)
		return PASS(p, ttl);
	p->transport = IP_AT + IPV6_LENGTH;
	return skip_extensions(p);
}

#endif
