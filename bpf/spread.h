/* SPDX-License-Identifier: GPL-2.0-only */
/* The outer source of a real whose service has a prefix of them: one for each flow, so that the real's receive
 * queues share the load (they hash the outer addresses; by one DIP all IPIP lands on one CPU).
 */
#ifndef XDPLB_SPREAD_H
#define XDPLB_SPREAD_H

#include "flow.h"

/* Of the hash the lowest bits: GUE's source port takes others. Asked of every tunnel but plain IPIP. Python never
 * changes the one while the other has bits, so that what is composed here is of one prefix. Returns: the address's last 32 bits, which are all of an IPv4 one.
 */
static __always_inline __be32 spread_source(const struct packet *p, const struct real *real)
{
	__u64 source = last_part(&real->source), hosts = real->source_hosts;

	if (hosts)
		source |= hash_flow(p, &p->director->config, p->protocol) & hosts;
	return source;
}

#endif
