/* SPDX-License-Identifier: GPL-2.0-only */
/* Frames of several buffers (xdp.frags), of which data and data_end are the first one's: jumbo frames, where the
 * driver has them. The first program hands over whatever goes beyond its first buffer, so that the others pay nothing.
 */
#ifndef XDPLB_JUMBO_H
#define XDPLB_JUMBO_H

#include "verdict.h"

static __always_inline __u64 frame_length(const struct packet *p)
{
	return bpf_xdp_get_buff_len(p->ctx);
}

/* Of a packet beyond the first buffer. What is longer than its interface's MTU never was one packet on the wire, and
 * would not be one there again: the kernel, which knows how it was made, gets it. Drivers merge nothing while XDP is
 * on, but a veth's peer may send what it left to be cut (TSO).
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

/* Is the packet all there? By its header, against what came. */
static __always_inline int check_length(struct packet *p)
{
	if ((void *)frame_start(p) + IP_AT + p->length <= frame_end(p))
		return NEXT;
	return p->rare ? check_jumbo(p) : HAND_OVER_RARE(p);
}

/* A header, of so many bytes from the packet's start on, that the first buffer does not hold. */
static __always_inline int miss_header(struct packet *p, __u64 end)
{
	return p->rare && end <= IP_AT + p->length ? PASS(p, split) : DROP(p, truncated);
}

#endif
