/* SPDX-License-Identifier: GPL-2.0-only */
/* The Internet checksum of a whole packet, without reading it: what carries a checksum of its own sums to a known
 * value (the kernel's local checksum offload, Documentation/networking/checksum-offloads.rst). Is one of them wrong,
 * then so is ours, and the real drops the packet, as it should.
 */
#ifndef XDPLB_CARRIED_H
#define XDPLB_CARRIED_H

#include "outer.h"

/* The sum of an address's words. */
static __always_inline __u64 sum_address(const struct address *address, int family)
{
	__u64 high = address->high, low = address->low;

	if (family == AF_INET6)
		return csum_halve((high >> 32) + (__u32)high + (low >> 32) + (__u32)low);
	return (low >> 48) + (low >> 32 & 0xffff);
}

/* An IPv4 header sums to 0, but IPv6's, which leaves with a hop less, does not. The segment together with its pseudo
 * header does: alone it sums to the complement of that. Both have IPv6's addresses and length, which is to say that
 * they do not count. At most six words. Returns: false if there is no such checksum (UDP's may be 0, or not over
 * all that the IP packet has), or if headers stand between that nobody has summed.
 */
static __always_inline bool sum_carried(const struct packet *p, __u64 *sum)
{
	struct udphdr *udp = frame_start(p) + p->transport;
	struct outer_ipv6 *ip = frame_start(p) + IP_AT;
	__u64 pseudo = bpf_htons(is_error(p) ? IPPROTO_ICMPV6 : p->protocol);
	__be16 length = bpf_htons(p->length - (p->transport - IP_AT));

	if (is_error(p) && !is_ipv6(p)) {
		*sum = 0; /* ICMP's has no pseudo header */
		return true;
	}
	if (is_fragment(p))
		return false; /* it is over all of them */
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
