/* SPDX-License-Identifier: GPL-2.0-only */
/* The Internet checksum (RFC 1071, RFC 1624): sums of 16-bit words as they lie in memory. */
#ifndef XDPLB_CSUM_H
#define XDPLB_CSUM_H

#include "types.h"

/* Folds a sum of at most 2^16 words: two steps suffice, as the first leaves at most 0x1fffe. */
static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* The header's checksum after its TTL went down by one; as ip_decrease_ttl() in include/net/ip.h. */
static __always_inline __u16 csum_after_ttl(__u16 check)
{
	__u32 sum = check + bpf_htons(0x0100);

	return sum + (sum >= 0xffff);
}

#endif
