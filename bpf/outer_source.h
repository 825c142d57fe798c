/* SPDX-License-Identifier: GPL-2.0-only */
/* The outer source address. If the service has a prefix of outer sources, each flow has its own.
 * The real's receive queues hash the outer addresses: with a single DIP, all IPIP packets arrive on
 * one CPU.
 */
#ifndef XDPLB_OUTER_SOURCE_H
#define XDPLB_OUTER_SOURCE_H

#include "flow.h"

/* Adds bits of the flow's hash to the prefix. They are the low bits; GUE's source port uses others.
 * All tunnels but plain IPIP come here. Python sets the host bits to 0 before it changes the
 * prefix, so the two always belong together. Returns: the last 32 bits of the address; an IPv4
 * address has no others.
 */
static __always_inline __be32 outer_source(const struct packet *p, const struct real *real)
{
	__u64 source = last_part(&real->source), hosts = real->source_hosts;

	if (hosts)
		source |= hash_flow(p, &p->director->config, p->protocol) & hosts;
	return source;
}

#endif
