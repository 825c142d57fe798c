/* SPDX-License-Identifier: GPL-2.0-only */
/* The deny list: from its prefixes a VIP takes nothing, whatever it is. Others' packets are not asked about.
 *
 * Asked before the first stage, and only while the list has prefixes: further on, the lookup's call would have
 * everything that lives across it spilled, on the way of all packets (13 instructions; here 2). So while there
 * are prefixes, addresses and VIP are found twice.
 */
#ifndef XDPLB_DENY_H
#define XDPLB_DENY_H

#include "parse.h"
#include "service.h"

#define NDISC_FIRST 133 /* ICMPv6: RFC 4861 §4, router solicitation to redirect */
#define NDISC_LAST 137

/* Denied routers, too, must find the VIP's MAC address: ARP is not asked about, and so this is not. */
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
