/* SPDX-License-Identifier: GPL-2.0-only */
/* The IPv4 header (RFC 791), for parse.h. */
#ifndef XDPLB_IPV4_H
#define XDPLB_IPV4_H

#include "bounds.h"
#include "verifier.h"

#define IP_DONT_FRAGMENT 0x4000

#define IP_IHL 5 /* of a header without options, in words of 32 bits */
#define IP_VERSION_IHL (4 << 4 | IP_IHL)

/* The low word of ::ffff:a.b.c.d; the high word is 0. For little-endian hosts only, as x86 and
 * arm64 are.
 */
static __always_inline __be64 v4_mapped(__be32 address)
{
	return (__u64)address << 32 | bpf_htonl(0xffff);
}

/* The IPv4 address in a v4-mapped address. */
static __always_inline __be32 last_part(const struct address *address)
{
	return ((const __be32 *)&address->low)[1];
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
	__u64 first, header;
	int verdict;

	if ((void *)(ip + 1) > frame_end(p))
		return DROP(p, malformed);
	first = *(__u8 *)ip;
	header = (first & 0xf) * 4;
	p->length = host_length(ip->tot_len);
	if (first - IP_VERSION_IHL > 0xf - IP_IHL)
		return DROP(p, malformed);
	if (p->length < header)
		return DROP(p, length);
	if ((verdict = check_length(p)) != NEXT)
		return verdict;
	p->fragment = fragment_bits(p, ip->frag_off);
	p->fragment_id = ip->id;
	if (p->fragment && !p->rare)
		return HAND_OVER_RARE(p);
	if (ip->ttl <= 1)
		return PASS(p, ttl);
	p->transport = IP_AT + header;
	return NEXT;
}

#endif
