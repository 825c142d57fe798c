/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a real's frames leave. Each real keeps its next hop; the first packet of each tick asks the FIB
 * again, so that a changed route or MAC address is followed within about a second by nobody's doing but
 * the kernel's (which keeps the neighbour resolved: Python installs it as managed).
 */
#ifndef XDPLB_NEXTHOP_H
#define XDPLB_NEXTHOP_H

#include "verdict.h"

/* Asks as if the packet came from the loopback interface, as locally sent ones do: bpf_fib_lookup() refuses
 * interfaces that do not forward, and the director itself need not (attach sets forwarding on lo alone).
 */
#define LOOPBACK_IFINDEX 1

static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	const __u16 *x = (const __u16 *)a, *y = (const __u16 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]));
}

static __always_inline bool same_hop(const struct hop *hop, const struct bpf_fib_lookup *fib)
{
	return hop->ifindex == fib->ifindex && hop->mtu == fib->mtu_result &&
	       same_mac(hop->dst, fib->dmac) && same_mac(hop->src, fib->smac);
}

/* Writes the hop not in use, then switches: a reader never sees half of one. A second CPU in the same tick
 * finds what it would write in use already, or writes the same bytes.
 */
static __always_inline void publish_hop(struct real *real, const struct bpf_fib_lookup *fib)
{
	__u8 active = real->active & 1;
	struct hop *hop = &real->hop[!active];

	if (same_hop(&real->hop[active], fib))
		return;
	hop->ifindex = fib->ifindex;
	hop->mtu = fib->mtu_result;
	__builtin_memcpy(hop->dst, fib->dmac, sizeof(hop->dst));
	__builtin_memcpy(hop->src, fib->smac, sizeof(hop->src));
	barrier();
	real->active = !active;
}

/* A neighbour that is being resolved again keeps its old address meanwhile; a route that went away does not. */
static __always_inline int refresh_hop(struct packet *p, struct real *real)
{
	struct bpf_fib_lookup fib = {
		.family = AF_INET,
		.l4_protocol = IPPROTO_IPIP,
		.ifindex = LOOPBACK_IFINDEX,
		.ipv4_src = real->source.low >> 32,
		.ipv4_dst = real->address.low >> 32,
	};
	long result = bpf_fib_lookup(p->ctx, &fib, sizeof(fib), 0);

	real->refreshed = p->tick;
	if (result == BPF_FIB_LKUP_RET_SUCCESS) {
		publish_hop(real, &fib);
		return NEXT;
	}
	if (result == BPF_FIB_LKUP_RET_NO_NEIGH)
		return real->hop[real->active & 1].ifindex ? NEXT : DROP(p, no_neighbour);
	real->hop[0].ifindex = 0;
	real->hop[1].ifindex = 0;
	return DROP(p, no_route);
}

/* The hop in use stays as it is for a tick at least: its place is the one written after the next change. */
static __always_inline int find_hop(struct packet *p, struct real *real, struct hop **hop)
{
	int verdict;

	if (real->local)
		return PASS(p, local);
	*hop = &real->hop[real->active & 1];
	if (real->refreshed == p->tick && (*hop)->ifindex)
		return NEXT;
	if ((verdict = refresh_hop(p, real)) != NEXT)
		return verdict;
	*hop = &real->hop[real->active & 1];
	return NEXT;
}

#endif
