/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a real's frames leave. Each real keeps its next hop; the first packet of each tick asks the FIB
 * again, so that a changed route or MAC address is followed within about a second by nobody's doing but
 * the kernel's (which keeps the neighbour resolved: Python installs it as managed).
 */
#ifndef XDPLB_NEXTHOP_H
#define XDPLB_NEXTHOP_H

#include "path.h"

/* Asks as if the packet came from the loopback interface, as locally sent ones do: bpf_fib_lookup() refuses
 * interfaces that do not forward, and the director itself need not (attach sets forwarding on lo alone, of IPv4 and IPv6).
 */
#define LOOPBACK_IFINDEX 1

/* An Ethernet header begins with the destination, struct bpf_fib_lookup has the source first. */
static __always_inline struct macs macs_of(const struct bpf_fib_lookup *fib)
{
	struct macs macs;

	__builtin_memcpy(&macs, fib->dmac, sizeof(fib->dmac));
	__builtin_memcpy((void *)&macs + sizeof(fib->dmac), fib->smac, sizeof(fib->smac));
	return macs;
}

/* What is different, if anything: by words without branches, each of which would be two ways to the verifier. */
static __always_inline __u32 differing(const struct hop *hop, const struct vlan *in,
				       const struct bpf_fib_lookup *fib, const struct vlan *vlan)
{
	struct macs macs = macs_of(fib);
	__u32 bits = (hop->ifindex ^ fib->ifindex) | (hop->mtu ^ fib->mtu_result);

	bits |= (hop->macs.word[0] ^ macs.word[0]) | (hop->macs.word[1] ^ macs.word[1]);
	bits |= (hop->macs.word[2] ^ macs.word[2]) | (in->parent ^ vlan->parent);
	bits |= (in->tags ^ vlan->tags) | (in->tag[0] ^ vlan->tag[0]) | (in->tag[1] ^ vlan->tag[1]);
	asm volatile("" : "+r"(bits));
	return bits;
}

/* Writes the hop not in use, then switches: a reader never sees half of one. A second CPU in the same tick
 * finds what it would write in use already, or writes the same bytes.
 */
static __always_inline void publish_hop(struct real *real, const struct bpf_fib_lookup *fib)
{
	__u8 active = real->active & 1;
	struct hop *hop = &real->hop[!active];
	struct vlan vlan = {}, *known;
	__u32 ifindex = fib->ifindex;

	known = vlans.lookup(&ifindex);
	if (known)
		vlan = *known;
	if (!differing(&real->hop[active], &real->vlan[active], fib, &vlan))
		return;
	real->vlan[!active] = vlan;
	hop->ifindex = fib->ifindex;
	hop->mtu = fib->mtu_result;
	hop->macs = macs_of(fib);
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
		.ipv4_src = last_part(&real->source),
		.ipv4_dst = last_part(&real->address),
	};
	long result;

	if (real->tunnel.flags & TUNNEL_OUTER_IPV6) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, &real->source, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, &real->address, sizeof(fib.ipv6_dst));
	}
	result = bpf_fib_lookup(p->ctx, &fib, sizeof(fib), 0);
	if (result == BPF_FIB_LKUP_RET_SUCCESS) {
		__u32 learned = path_mtu(p, real);

		if (learned < fib.mtu_result)
			fib.mtu_result = learned;
		publish_hop(real, &fib);
	} else if (result == BPF_FIB_LKUP_RET_NO_NEIGH) {
		if (!real->hop[real->active & 1].ifindex)
			return DROP(p, no_neighbour);
	} else {
		real->refreshed = 0;
		real->hop[0].ifindex = 0;
		real->hop[1].ifindex = 0;
		return DROP(p, no_route);
	}
	real->refreshed = p->tick;
	return NEXT;
}

/* The hop in use stays as it is for a tick at least: its place is the one written after the next change. */
static __always_inline int find_hop(struct packet *p, struct real *real, struct hop **hop)
{
	int verdict;

	if (real->local)
		return PASS(p, local);
	if (real->refreshed != p->tick && (verdict = refresh_hop(p, real)) != NEXT)
		return verdict;
	*hop = &real->hop[real->active & 1];
	return NEXT;
}

#endif
