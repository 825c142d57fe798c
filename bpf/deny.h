/* SPDX-License-Identifier: GPL-2.0-only */
/* The deny list. No packet from its prefixes reaches a VIP. Packets to other addresses are not
 * checked.
 *
 * The check comes before the first stage, and only if the list is not empty. Between later stages,
 * the call of the lookup would make the compiler spill all live values, for every packet (13
 * instructions instead of 2). The price: while there are prefixes, addresses and VIP are found
 * twice.
 */
#ifndef XDPLB_DENY_H
#define XDPLB_DENY_H

#include "parse.h"
#include "service.h"

#define NDISC_FIRST 133 /* ICMPv6 types of RFC 4861 §4, router solicitation to redirect */
#define NDISC_LAST 137

/* A router in a denied prefix must still be able to find the VIP's MAC address. ARP is not checked
 * either.
 */
static __always_inline bool is_neighbour_discovery(const struct packet *p)
{
	struct ipv6hdr *ip = frame_start(p) + IP_AT;
	__u8 *type = (__u8 *)(ip + 1);

	return is_ipv6(p) && (void *)(type + 1) <= frame_end(p) && ip->nexthdr == IPPROTO_ICMPV6 &&
	       *type >= NDISC_FIRST && *type <= NDISC_LAST;
}

static __always_inline bool is_denied(struct packet *p)
{
	struct prefix source;

	if (parse_network(p) != NEXT || find_vip(p) != NEXT)
		return false;
	source.length = 8 * sizeof(source.address);
	source.address[0] = p->client.high;
	source.address[1] = p->client.high >> 32;
	source.address[2] = p->client.low;
	source.address[3] = p->client.low >> 32;
	return denied.lookup(&source) && !is_neighbour_discovery(p);
}

#endif
