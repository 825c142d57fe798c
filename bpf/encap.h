/* SPDX-License-Identifier: GPL-2.0-only */
/* From the client's packet to the tunnel's: makes room, and writes the link's header anew. Each kind of
 * tunnel has a header file of its own, encap_<kind>.h, that says how many bytes it adds and writes them.
 */
#ifndef XDPLB_ENCAP_H
#define XDPLB_ENCAP_H

#include "encap_gre.h"
#include "encap_gue.h"
#include "encap_ipip.h"

/* Units: bytes that the tunnel adds. */
static __always_inline __u64 tunnel_length(__u64 tunnel)
{
	if (is_ipip(tunnel))
		return IPIP_LENGTH;
	if (tunnel_kind(tunnel) == TUNNEL_IPIP_SPREAD)
		return IPIP_LENGTH;
	return tunnel_kind(tunnel) == TUNNEL_GRE ? gre_length(tunnel) : GUE_LENGTH;
}

static __always_inline int encapsulate(struct packet *p, const struct real *real,
				       const struct hop *hop, __u64 tunnel)
{
	if (is_ipip(tunnel))
		return encapsulate_ipip(p, real, hop, tunnel);
	if (tunnel_kind(tunnel) == TUNNEL_IPIP_SPREAD)
		return encapsulate_ipip(p, real, hop, tunnel);
	if (tunnel_kind(tunnel) == TUNNEL_GRE)
		return encapsulate_gre(p, real, hop, tunnel);
	return encapsulate_gue(p, real, hop, tunnel);
}

#endif
