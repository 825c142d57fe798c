/* SPDX-License-Identifier: GPL-2.0-only */
/* IPv4's header (RFC 791), as far as parse.h asks. */
#ifndef XDPLB_IPV4_H
#define XDPLB_IPV4_H

#include "length.h"
#include "verdict.h"

#define IP_MORE_FRAGMENTS 0x2000
#define IP_OFFSET 0x1fff
#define IP_DONT_FRAGMENT 0x4000

#define IP_IHL 5 /* of a header without options, in words */
#define IP_VERSION_IHL (4 << 4 | IP_IHL)

/* The low word of ::ffff:a.b.c.d; the high one is 0. Little-endian hosts only, as is all of BCC's x86
 * and arm64.
 */
static __always_inline __be64 v4_mapped(__be32 address)
{
	return (__u64)address << 32 | bpf_htonl(0xffff);
}

static __always_inline __be32 v4_part(const struct address *mapped)
{
	return ((const __be32 *)&mapped->low)[1];
}

enum fragment {
	FRAGMENT_NONE = 0, /* a whole packet */
	FRAGMENT_FIRST = 1,
	FRAGMENT_LATER = 2, /* has no ports */
};

/* Only xdplb_rare() has any. */
static __always_inline bool is_fragment(const struct packet *p)
{
	return p->rare && p->fragment != FRAGMENT_NONE;
}

static __always_inline bool is_first_fragment(const struct packet *p)
{
	return p->rare && p->fragment == FRAGMENT_FIRST;
}

static __always_inline bool is_later_fragment(const struct packet *p)
{
	return p->rare && p->fragment == FRAGMENT_LATER;
}

static __always_inline int read_ipv4_addresses(struct packet *p, const struct iphdr *ip,
					       const void *end)
{
	if ((void *)(ip + 1) > end)
		return PASS(p, truncated);
	p->protocol = ip->protocol;
	p->client.low = v4_mapped(ip->saddr);
	p->vip.low = v4_mapped(ip->daddr);
	return NEXT;
}

static __always_inline int check_ipv4(struct packet *p)
{
	struct iphdr *ip = frame_start(p) + IP_AT;
	void *end = frame_end(p);
	__u64 first, header;

	if ((void *)(ip + 1) > end)
		return DROP(p, malformed);
	first = *(__u8 *)ip;
	header = (first & 0xf) * 4;
	p->length = host_length(ip->tot_len);
	if (first - IP_VERSION_IHL > 0xf - IP_IHL || p->length < header ||
	    (void *)ip + p->length > end)
		return DROP(p, malformed);
	if (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET)) {
		if (!p->rare)
			return HAND_OVER(p, KIND_RARE);
		p->fragment = ip->frag_off & bpf_htons(IP_OFFSET) ? FRAGMENT_LATER : FRAGMENT_FIRST;
		p->fragment_id = ip->id;
	}
	if (ip->ttl <= 1)
		return PASS(p, ttl);
	p->transport = IP_AT + header;
	return NEXT;
}

#endif
