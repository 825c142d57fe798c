/* SPDX-License-Identifier: GPL-2.0-only */
/* IP in IP (RFC 2003):
 *
 *	| Ethernet | IPv4 DIP → RIP, protocol 4 | IPv4 CIP → VIP | TCP or UDP | …
 *	            \_________ added __________/ \__ the client's packet, TTL - 1
 */
#ifndef XDPLB_ENCAP_IPIP_H
#define XDPLB_ENCAP_IPIP_H

#include "outer.h"

#define IPIP_LENGTH ((int)sizeof(struct outer_header))

static __always_inline int encapsulate_ipip(struct packet *p, const struct real *real,
					    const struct hop *hop, __u64 tunnel)
{
	struct outer_header *outer = make_room(p, hop, IPIP_LENGTH);

	if (!outer)
		return DROP(p, headroom);
	write_outer(p, real, tunnel, outer, (void *)(outer + 1), IPIP_LENGTH, IPPROTO_IPIP);
	return NEXT;
}

#endif
