/* SPDX-License-Identifier: GPL-2.0-only */
/* Wraps the client's packet in its real's tunnel. Each kind of tunnel has a header file of its own,
 * encap_<kind>.h, which says how many bytes the tunnel adds and writes them.
 */
#ifndef XDPLB_ENCAP_H
#define XDPLB_ENCAP_H

#include "encap_gre.h"
#include "encap_gue.h"
#include "encap_ipip.h"

/* How many bytes the tunnel adds. */
static __always_inline __u64 tunnel_length(__u64 tunnel)
{
	int length = outer_length(outer_family(tunnel));

	if (is_ipip(tunnel))
		return outer_length(AF_INET);
	if (tunnel_kind(tunnel) == TUNNEL_IPIP)
		return length;
	if (tunnel_kind(tunnel) == TUNNEL_GRE)
		return length + gre_length(tunnel_checksum(tunnel));
	return length + GUE_LENGTH;
}

static __always_inline int encapsulate_in(struct packet *p, const struct real *real,
					  const struct hop *hop, __u64 tunnel, int outer)
{
	if (tunnel_kind(tunnel) == TUNNEL_IPIP)
		return encapsulate_ipip(p, real, hop, tunnel, outer);
	if (tunnel_kind(tunnel) == TUNNEL_GRE)
		return encapsulate_gre(p, real, hop, tunnel, outer);
	return encapsulate_gue(p, real, hop, tunnel, outer);
}

/* IP in IPv4 is tested first, because most packets use it. */
static __always_inline int encapsulate(struct packet *p, const struct real *real,
				       const struct hop *hop, __u64 tunnel)
{
	if (is_ipip(tunnel))
		return encapsulate_ipip(p, real, hop, tunnel, AF_INET);
	if (outer_family(tunnel) == AF_INET6)
		return encapsulate_in(p, real, hop, tunnel, AF_INET6);
	return encapsulate_in(p, real, hop, tunnel, AF_INET);
}

#endif
