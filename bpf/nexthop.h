/* SPDX-License-Identifier: GPL-2.0-only */
/* The next hop to a real. Each real caches its next hop, and the first packet in each tick asks the
 * FIB again. So a changed route or MAC address takes effect within about a second. The kernel keeps
 * the neighbour resolved, because Python installs it as a managed neighbour.
 */
#ifndef XDPLB_NEXTHOP_H
#define XDPLB_NEXTHOP_H

#include "path.h"

/* bpf_fib_lookup() refuses interfaces that do not forward, and the director itself need not
 * forward. So the lookup is made as if the packet came from the loopback interface, as locally sent
 * packets do. (`attach` enables forwarding on lo only, for IPv4 and IPv6.)
 */
#define LOOPBACK_IFINDEX 1

/* An Ethernet header has the destination first; struct bpf_fib_lookup has the source first. */
static __always_inline struct macs macs_of(const struct bpf_fib_lookup *fib)
{
	struct macs macs;

	__builtin_memcpy(&macs, fib->dmac, sizeof(fib->dmac));
	__builtin_memcpy((void *)&macs + sizeof(fib->dmac), fib->smac, sizeof(fib->smac));
	return macs;
}

/* Not 0 if the hop differs from the lookup's result. It compares by words without branches, because
 * each branch would double the verifier's paths.
 */
static __always_inline __u32 hop_difference(const struct hop *hop, const struct vlan *in,
					    const struct bpf_fib_lookup *fib,
					    const struct vlan *vlan)
{
	struct macs macs = macs_of(fib);
	__u32 bits = (hop->ifindex ^ fib->ifindex) | (hop->mtu ^ fib->mtu_result);

	bits |= (hop->macs.word[0] ^ macs.word[0]) | (hop->macs.word[1] ^ macs.word[1]);
	bits |= (hop->macs.word[2] ^ macs.word[2]) | (in->parent ^ vlan->parent);
	bits |= (in->tags ^ vlan->tags) | (in->tag[0] ^ vlan->tag[0]) | (in->tag[1] ^ vlan->tag[1]);
	asm volatile("" : "+r"(bits));
	return bits;
}

/* Writes the hop that is not in use, then switches to it, so a reader never sees half a hop. A
 * second CPU in the same tick finds that the hop in use is right already, or writes the same bytes.
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
	if (!hop_difference(&real->hop[active], &real->vlan[active], fib, &vlan))
		return;
	real->vlan[!active] = vlan;
	hop->ifindex = fib->ifindex;
	hop->mtu = fib->mtu_result;
	hop->macs = macs_of(fib);
	barrier();
	real->active = !active;
}

/* Asks the FIB. While the neighbour is being resolved, the old MAC address stays in use. If there
 * is no route any more, the hop is deleted.
 */
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

/* Finds the real's next hop. What it returns stays unchanged for at least one tick, because the
 * next change writes the other hop.
 */
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
