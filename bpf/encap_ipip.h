/* SPDX-License-Identifier: GPL-2.0-only */
/* IP in IP (RFC 2003, RFC 2473, RFC 4213). Protocol 4 is IPv4 inside, 41 is IPv6. The outer header
 * has the real's family.
 *
 *	| Ethernet | IPv4 or IPv6 DIP → RIP, protocol 4 or 41 | IPv4 or IPv6 CIP → VIP | TCP or UDP | …
 *	            \________________ added ________________/ \__ the client's packet, TTL - 1
 */
#ifndef XDPLB_ENCAP_IPIP_H
#define XDPLB_ENCAP_IPIP_H

#include "outer.h"

static __always_inline int encapsulate_ipip(struct packet *p, const struct real *real,
					    const struct hop *hop, __u64 tunnel, int outer)
{
	int added = outer_length(outer);
	void *header = make_room(p, hop, outer, added);

	if (!header)
		return DROP(p, headroom);
	write_outer(p, real, tunnel, header, outer, added, inner_protocol(p));
	return NEXT;
}

#endif
