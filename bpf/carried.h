/* SPDX-License-Identifier: GPL-2.0-only */
/* The Internet checksum of a whole packet, without reading it: what carries a checksum of its own sums to a known
 * value (the kernel's local checksum offload, Documentation/networking/checksum-offloads.rst). Is one of them wrong,
 * then so is ours, and the real drops the packet, as it should.
 */
#ifndef XDPLB_CARRIED_H
#define XDPLB_CARRIED_H

#include "parse.h"

/* The IPv4 header sums to 0. So does the segment together with its pseudo header: alone it sums to the complement
 * of that. At most six words of 16 bits. Returns: false if there is no such checksum (UDP's may be 0).
 */
static __always_inline bool sum_carried(const struct packet *p, __u64 *sum)
{
	__u64 client = p->client.low >> 32, vip = p->vip.low >> 32, pseudo;
	struct udphdr *udp = frame_start(p) + p->transport;

	if (is_error(p)) {
		*sum = 0; /* ICMP's has no pseudo header */
		return true;
	}
	if (is_fragment(p))
		return false; /* it is over all of them */
	if (p->protocol == IPPROTO_UDP && ((void *)(udp + 1) > frame_end(p) || !udp->check))
		return false;
	pseudo = (client & 0xffff) + (client >> 16) + (vip & 0xffff) + (vip >> 16);
	pseudo += bpf_htons(p->protocol) + bpf_htons(p->length - (p->transport - IP_AT));
	*sum = csum_fold(pseudo);
	return true;
}

#endif
