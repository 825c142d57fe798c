/* SPDX-License-Identifier: GPL-2.0-only */
/* The Internet checksum (RFC 1071, RFC 1624): sums of 16-bit words in memory order. */
#ifndef XDPLB_CSUM_H
#define XDPLB_CSUM_H

#include "types.h"

/* Folds a sum of at most 2^16 words. Two steps suffice: the first leaves at most 0x1fffe. */
static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Turns a sum of at most 2^16 words of 32 bits into one of 16-bit words, at most 0x1ffff: each
 * 32-bit word counts as two 16-bit words.
 */
static __always_inline __u64 csum_halve(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffff) + (sum >> 16);
}

/* Decrements the TTL, which is not 0, and adds 1 to the checksum, as ip_decrease_ttl() in
 * include/net/ip.h does. One 32-bit word holds TTL, protocol and checksum. A checksum of 0xfffe or
 * 0xffff wraps around with end-around carry. Returns: the new TTL.
 */
static __always_inline __u8 decrease_ttl(struct iphdr *ip)
{
	__u32 *word = (__u32 *)&ip->ttl;
	__u64 next = *word + 0x10000ULL - 1;

	if (*word >= 0xfffe0000)
		next += 0x10000;
	*word = next;
	return next;
}

#endif
