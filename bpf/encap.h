/* SPDX-License-Identifier: GPL-2.0-only */
/* From the client's packet to the tunnel's: makes room, and writes the link's header anew. Each kind of
 * tunnel has a header file of its own, encap_<kind>.h, that says how many bytes it adds and writes them.
 */
#ifndef XDPLB_ENCAP_H
#define XDPLB_ENCAP_H

#include "encap_ipip.h"

static __always_inline int encapsulate(struct packet *p, const struct real *real,
				       const struct hop *hop)
{
	struct macs *macs;
	__be16 *ethertype;

	if (!move_head(p, -IPIP_LENGTH))
		return DROP(p, headroom);
	macs = frame_start(p);
	ethertype = (__be16 *)(macs + 1);
	if ((void *)(ethertype + 1) + IPIP_LENGTH + sizeof(struct iphdr) > frame_end(p))
		return DROP(p, headroom);
	*macs = hop->macs;
	*ethertype = bpf_htons(ETH_P_IP);
	write_ipip(p, real, (void *)(ethertype + 1));
	return NEXT;
}

#endif
