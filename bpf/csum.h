/* SPDX-License-Identifier: GPL-2.0-only */
/* The Internet checksum (RFC 1071, RFC 1624): sums of 16-bit words as they lie in memory. */
#ifndef XDPLB_CSUM_H
#define XDPLB_CSUM_H

#include "types.h"

/* Folds a sum of at most 2^16 words: two steps suffice, as the first leaves at most 0x1fffe. */
static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* The sum of 16-bit words, at most 0x1ffff, from that of at most 2^16 32-bit ones: those are two of them each. */
static __always_inline __u64 csum_halve(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffff) + (sum >> 16);
}

/* Takes one from the TTL, which is not 0, and adds it to the checksum: ip_decrease_ttl() in include/net/ip.h, on the
 * one word that holds TTL, protocol and checksum. The checksum's carry goes round: from 0xfffe and 0xffff on.
 * Returns: the TTL.
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
