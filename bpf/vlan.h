/* SPDX-License-Identifier: GPL-2.0-only */
/* VLAN tags (IEEE 802.1Q, 802.1ad) are removed before the first stage and put back after the last
 * one. So all stages find the IP header at the same offset, and the verifier does not walk three
 * copies of every path. A forwarded packet gets the tags of its next hop instead, usually none: see
 * send().
 */
#ifndef XDPLB_VLAN_H
#define XDPLB_VLAN_H

#include "verdict.h"

#define TAG_LENGTH 4

static __always_inline bool is_tag(__be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD);
}

/* Removes the outermost tag, if there is one. */
static __always_inline void pop_tag(struct packet *p, int nth)
{
	struct macs *macs = frame_start(p), kept;
	__u32 *tag = (__u32 *)(macs + 1);

	if ((void *)(tag + 1) + sizeof(__be16) > frame_end(p) || !is_tag(*(__be16 *)tag))
		return;
	kept = *macs;
	p->tag[nth] = *tag;
	if (!move_head(p, TAG_LENGTH))
		return;
	p->tags++;
	macs = frame_start(p);
	if ((void *)(macs + 1) <= frame_end(p))
		*macs = kept;
}

/* Puts the innermost removed tag back. Returns: whether there was room. */
static __always_inline bool push_tag(struct packet *p, int nth)
{
	struct macs *macs = frame_start(p), kept;
	__u32 *tag;

	if ((void *)(macs + 1) > frame_end(p))
		return false;
	kept = *macs;
	if (!move_head(p, -TAG_LENGTH))
		return false;
	macs = frame_start(p);
	tag = (__u32 *)(macs + 1);
	if ((void *)(tag + 1) > frame_end(p))
		return false;
	*macs = kept;
	*tag = p->tag[nth];
	return true;
}

static __always_inline void pop_tags(struct packet *p)
{
	__be16 *ethertype = frame_start(p) + sizeof(struct macs);

	if ((void *)(ethertype + 1) > frame_end(p) || *ethertype == bpf_htons(ETH_P_IP))
		return;
	pop_tag(p, 0);
	if (p->tags)
		pop_tag(p, 1);
}

/* For each packet that leaves or is passed up. Room is only missing if the outer header used it up.
 */
static __always_inline int push_tags(struct packet *p, int action)
{
	if (p->tags == 2 && !push_tag(p, 1))
		return DROP(p, headroom);
	if (!push_tag(p, 0))
		return DROP(p, headroom);
	return action;
}

#endif
