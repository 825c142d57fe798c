/* SPDX-License-Identifier: GPL-2.0-only */
/* The checksum of the client's whole packet, computed without reading the payload: data that
 * carries a checksum of its own sums to a known value (the kernel's local checksum offload,
 * Documentation/networking/checksum-offloads.rst). If an inner checksum is wrong, so is the outer
 * one, and the real drops the packet, as it should.
 */
#ifndef XDPLB_INNER_CSUM_H
#define XDPLB_INNER_CSUM_H

#include "outer.h"

/* The sum of the 16-bit words of an address. */
static __always_inline __u64 sum_address(const struct address *address, int family)
{
	__u64 high = address->high, low = address->low;

	if (family == AF_INET6)
		return csum_halve((high >> 32) + (__u32)high + (low >> 32) + (__u32)low);
	return (low >> 48) + (low >> 32 & 0xffff);
}

/* Computes the sum of the inner packet, from at most six words.
 *
 * An IPv4 header sums to 0. An IPv6 header has no checksum, and its hop limit is decremented. A TCP
 * or UDP segment sums to 0 together with its pseudo header, so alone it sums to the complement of
 * the pseudo header's sum. Addresses and length are both in the IPv6 header and in its pseudo
 * header, so they cancel out.
 *
 * Returns: false if there is no such checksum: UDP without a checksum, or with one that covers only
 * a part of the packet, or extension headers, which no checksum covers.
 */
static __always_inline bool sum_inner(const struct packet *p, __u64 *sum)
{
	struct udphdr *udp = frame_start(p) + p->transport;
	struct outer_ipv6 *ip = frame_start(p) + IP_AT;
	__u64 pseudo = bpf_htons(is_error(p) ? IPPROTO_ICMPV6 : p->protocol);
	__be16 length = bpf_htons(p->length - (p->transport - IP_AT));

	if (is_error(p) && !is_ipv6(p)) {
		*sum = 0; /* ICMP's checksum has no pseudo header */
		return true;
	}
	if (is_fragment(p))
		return false; /* the checksum covers all fragments together */
	if (p->protocol == IPPROTO_UDP && !is_error(p) &&
	    ((void *)(udp + 1) > frame_end(p) || !udp->check || udp->len != length))
		return false;
	if (!is_ipv6(p)) {
		pseudo += sum_address(&p->client, AF_INET) + sum_address(&p->vip, AF_INET);
		*sum = csum_fold(pseudo + length);
		return true;
	}
	if (p->transport != IP_AT + IPV6_LENGTH || (void *)(ip + 1) > frame_end(p))
		return false;
	*sum = csum_fold(pseudo) + csum_halve(ip->flow) + (ip->length >> 16) - (1 << 8);
	return true;
}

#endif
