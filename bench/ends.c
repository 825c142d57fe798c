/* SPDX-License-Identifier: GPL-2.0-only */
/* Both ends of an end-to-end measurement, and the smallest program in the director's place. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/in.h>

#include "receive.h"

struct headers {
	__u64 word[5]; /* Ethernet, IPv4 and the ports and a bit of TCP */
};

BPF_ARRAY(sent, struct headers, 1);

/* The smallest program in the director's place. */
int bounce(struct xdp_md *ctx)
{
	return XDP_TX;
}

/* Live frames come back as the director left them, with its outer header over their Ethernet header. The kernel
 * restores only their bounds (net/bpf/test_run.c, reset_ctx()). So the headers of each frame are written again.
 */
int transmit(struct xdp_md *ctx)
{
	struct headers *frame = (void *)(long)ctx->data, *wanted;
	__u32 zero = 0;

	wanted = sent.lookup(&zero);
	if (!wanted || (void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	*frame = *wanted;
	return XDP_TX;
}
