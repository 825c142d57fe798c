/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether the packet's bytes are there. A jumbo frame has several buffers (xdp.frags), and data and
 * data_end delimit only the first one. The main program hands over each packet that does not end in
 * the first buffer, so other packets pay nothing for jumbo frames.
 */
#ifndef XDPLB_BOUNDS_H
#define XDPLB_BOUNDS_H

#include "verdict.h"

static __always_inline __u64 frame_length(const struct packet *p)
{
	return bpf_xdp_get_buff_len(p->ctx);
}

/* Checks a packet that does not end in the first buffer. A packet that is longer than its
 * interface's MTU was merged from several packets, and cannot be sent as one. The kernel gets it,
 * because it knows how to split it. Drivers merge nothing while XDP is attached, but the peer of a
 * veth may leave segmentation to others (TSO).
 */
static __always_inline int check_jumbo(struct packet *p)
{
	__u32 length = p->length;

	if (IP_AT + p->length > frame_length(p))
		return DROP(p, length);
	if (bpf_check_mtu(p->ctx, 0, &length, 0, 0))
		return PASS(p, merged);
	return NEXT;
}

/* Checks the length in the IP header against the frame's length. */
static __always_inline int check_length(struct packet *p)
{
	if ((void *)frame_start(p) + IP_AT + p->length <= frame_end(p))
		return NEXT;
	return p->rare ? check_jumbo(p) : HAND_OVER_RARE(p);
}

/* The verdict about a packet whose header is not in the first buffer. `end`: offset of the header's
 * end.
 */
static __always_inline int missing_header(struct packet *p, __u64 end)
{
	return p->rare && end <= IP_AT + p->length ? PASS(p, split) : DROP(p, truncated);
}

#endif
