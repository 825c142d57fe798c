/* SPDX-License-Identifier: GPL-2.0-only */
/* The programs around a director that is compared with IPVS: the sender and the real servers on one side, and
 * on the director's own interface the programs that take the director's place.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/in.h>

#include "floor.h"
#include "receive.h"

#define FRAME 60 /* bytes: the shortest frame on a wire, without its FCS */
#define WORDS 7  /* of eight bytes, and four bytes more */
#define BURST 32 /* packets: a queue of veth holds 256 */

struct plan {
	__u64 word[WORDS + 1]; /* the frame of flow 0 */
	__u32 sum;             /* of its IP header, without the source and not complemented */
	__u32 flows;           /* 0: 2^32 */
	__u64 next;            /* flow */
	__u64 interval_ns;     /* between two packets; 0: as many as there are frames */
	__u64 due_ns;          /* when the next one leaves */
	__u64 sent;
};

BPF_F_TABLE("array", __u32, struct plan, plans, 1, BPF_F_MMAPABLE);
BPF_PERCPU_ARRAY(dropped, __u64, 1);

/* Whether the next packet's time has come. Packets that were missed while the machine did other work are not sent
 * later: a burst of them would be another rate.
 */
static __always_inline int is_due(struct plan *plan)
{
	__u64 now;

	if (!plan->interval_ns)
		return 1;
	now = bpf_ktime_get_ns();
	if ((__s64)(now - plan->due_ns) < 0)
		return 0;
	plan->due_ns += plan->interval_ns;
	if ((__s64)(now - plan->due_ns) > (__s64)(BURST * plan->interval_ns))
		plan->due_ns = now;
	return 1;
}

/* Sends one flow after the other. Flow n comes from 48.0.0.0 + n, and its port depends on n too. Live frames come
 * back as the director left them: the kernel restores only their bounds (net/bpf/test_run.c, reset_ctx()).
 */
int transmit(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, flow, source, sum;
	struct plan *plan = plans.lookup(&zero);

	if (!plan || data + FRAME > end)
		return XDP_ABORTED;
	if (!is_due(plan))
		return XDP_DROP; /* the frame comes round again */
	plan->sent++;
	flow = plan->next++;
	if (plan->flows && plan->next >= plan->flows)
		plan->next = 0;
#pragma unroll
	for (int i = 0; i < WORDS; i++)
		((__u64 *)data)[i] = plan->word[i];
	((__u32 *)data)[2 * WORDS] = plan->word[WORDS];
	source = 0x30000000 | (flow & 0xffffff);
	sum = plan->sum + (source >> 16) + (source & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*(__be16 *)(data + 24) = bpf_htons(~sum);
	*(__be32 *)(data + 26) = bpf_htonl(source);
	*(__be16 *)(data + 34) = bpf_htons(0x8000 | ((flow ^ flow >> 24) & 0x7fff));
	return XDP_TX;
}

/* Drops a packet where the director would take it: this is the cost of the rig. */
int drop(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *counted = dropped.lookup(&zero);

	if (counted)
		++*counted;
	return XDP_DROP;
}

/* On the interface while IPVS is the director: frames that XDP sent need an XDP program here. */
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}
