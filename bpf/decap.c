// SPDX-License-Identifier: GPL-2.0-only
/* A real server's unwrapper, for kernels without ipip. It removes the tunnel's headers from packets
 * of a director, and passes the client's packet to the stack.
 *
 *	| Ethernet, VLAN tags | IP director → real, protocol 4 or 41      | IP client → VIP | …   RFC 2003, 2473, 4213
 *	| Ethernet, VLAN tags | IP director → real, protocol 47 | GRE     | IP client → VIP | …   RFC 2784, 7676
 *	| Ethernet, VLAN tags | IP director → real, UDP to GUE_PORT | GUE | IP client → VIP | …   include/net/gue.h
 *	| Ethernet, VLAN tags | IP client → VIP | …
 *
 * Each IP is IPv4 or IPv6. Only packets of a known director for a known VIP are changed. The VIP
 * must be a local address. The checksums of GRE and UDP are not verified: the inner packet has its
 * own, which the stack verifies.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/in.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>
#include <uapi/linux/udp.h>

#include "decap_types.h"
#include "decap_outer.h"
#include "decap_inner.h"

/* Removes everything before the inner packet except the room for the link header, and writes that
 * header again.
 */
static __always_inline int strip_outer(struct packet *p)
{
	struct link link, *place = frame_start(p);

	/* for the verifier, here and below: a frame with two IP headers is longer than this */
	if ((void *)(place + 1) > frame_end(p))
		return DROP(p, no_head);
	link = *place;
	if (bpf_xdp_adjust_head(p->ctx, p->shift))
		return DROP(p, no_head);
	place = frame_start(p);
	if ((void *)(place + 1) > frame_end(p))
		return DROP(p, no_head);
#pragma unroll
	for (int i = 0; i < LINK_BYTES / 2; i++)
		if (i * 2 < p->network)
			place->word[i] = i * 2 + 2 < p->network ? link.word[i] : p->inner;
	return FATE(p, XDP_PASS, decapsulated);
}

static __always_inline int unwrap(struct packet *p)
{
	int verdict;

	if ((verdict = parse_link(p)) != NEXT)
		return verdict;
	if ((verdict = parse_outer(p)) != NEXT)
		return verdict;
	if ((verdict = parse_inner(p)) != NEXT)
		return verdict;
	return strip_outer(p);
}

int decap(struct xdp_md *ctx)
{
	struct packet p = { .ctx = ctx };
	int verdict = unwrap(&p);
	__u32 zero = 0, fate = p.fate;
	struct counters *all = counters.lookup(&zero);

	if (all && fate < COUNTERS)
		((__u64 *)all)[fate]++;
	return verdict;
}
