/* SPDX-License-Identifier: GPL-2.0-only */
/* ICMPv6's "packet too big" (RFC 4443 §3.2), for icmp.h. It quotes as much of the packet as fits in
 * IPv6's minimum MTU.
 */
#ifndef XDPLB_ICMPV6_H
#define XDPLB_ICMPV6_H

#include "inner_csum.h"
#include "path.h"

struct icmpv6_too_big {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 mtu;
};

#define TOO_BIG6_ADDED ((int)(sizeof(struct ipv6hdr) + sizeof(struct icmpv6_too_big)))
#define TOO_BIG6_QUOTED (IPV6_LEAST_MTU - TOO_BIG6_ADDED)

/* The quote in words of 64 bits; each counts as two of 32 bits. There are 308 words of 32 bits. */
struct too_big6 {
	struct outer_ipv6 ip;
	struct icmpv6_too_big icmp;
	__u64 quoted[TOO_BIG6_QUOTED / sizeof(__u64)];
};

/* Whether the address is a single host's. No error is sent to other addresses (RFC 4443 §2.4): the
 * unspecified address, multicast, and the rest of ::/64, which belongs to nobody.
 */
static __always_inline bool is_ipv6_host(const struct address *address)
{
	return address->high && (__u8)address->high != 0xff;
}

/* Sums the pseudo header (addresses, length, protocol), the ICMP header and the quote. */
static __always_inline __u16 too_big6_checksum(const struct too_big6 *reply)
{
	const __u64 *words = reply->quoted;
	__u64 sum = 0;

	for (int i = 0; i < TOO_BIG6_QUOTED / (int)sizeof(*words); i++)
		sum += (__u32)words[i] + (words[i] >> 32);
	sum += sum_address(&reply->ip.saddr, AF_INET6) + sum_address(&reply->ip.daddr, AF_INET6);
	sum += bpf_htons(IPV6_LEAST_MTU - IPV6_LENGTH) + bpf_htons(IPPROTO_ICMPV6);
	sum += ICMPV6_PKT_TOOBIG + reply->icmp.mtu;
	return csum_fold(csum_halve(sum));
}

static __always_inline bool write_too_big6(struct packet *p, __u32 mtu)
{
	struct too_big6 *reply = frame_start(p) + IP_AT;

	if ((void *)(reply + 1) > frame_end(p))
		return false;
	reply->ip = (struct outer_ipv6){
		.flow = bpf_htonl(6 << 28),
		.length =
			bpf_htons(IPV6_LEAST_MTU - IPV6_LENGTH) | IPPROTO_ICMPV6 << 16 | 64U << 24,
		.saddr = p->vip,
		.daddr = p->client,
	};
	reply->icmp = (struct icmpv6_too_big){
		.type = ICMPV6_PKT_TOOBIG,
		.mtu = bpf_htonl(mtu),
	};
	reply->icmp.checksum = too_big6_checksum(reply);
	return true;
}

#endif
