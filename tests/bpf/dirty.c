/* SPDX-License-Identifier: GPL-2.0-only */
/* What a driver hands over and BPF_PROG_TEST_RUN does not: headroom full of old bytes, or little of it. */
#include <uapi/linux/bpf.h>

#define DIRTY 128 /* bytes of headroom that are filled with 0xFF */
#define MOST 256 /* bytes of a frame that can be moved */

struct plan {
	__u32 left; /* headroom to leave, 0: all */
	__u32 pad;
};

BPF_F_TABLE("array", __u32, struct plan, plans, 1, BPF_F_MMAPABLE);
BPF_PROG_ARRAY(targets, 1);

static __always_inline int fill(struct xdp_md *ctx)
{
	__u64 *at;

	if (bpf_xdp_adjust_head(ctx, -DIRTY))
		return -1;
	at = (void *)(long)ctx->data;
	if ((void *)at + DIRTY > (void *)(long)ctx->data_end)
		return -1;
#pragma unroll
	for (int i = 0; i < DIRTY / 8; i++)
		at[i] = ~0ULL;
	return bpf_xdp_adjust_head(ctx, DIRTY);
}

/* Moves the frame towards the buffer's beginning: a test run gives it 256 bytes of headroom, 40 of which
 * are the kernel's (struct xdp_frame).
 */
static __always_inline int tighten(struct xdp_md *ctx, int left)
{
	int length = ctx->data_end - ctx->data, moved = 216 - left;

	if (moved <= 0 || bpf_xdp_adjust_head(ctx, -moved))
		return -1;
	for (int i = 0; i < MOST; i++) {
		__u8 *to = (void *)(long)ctx->data + i, *from = to + (moved & 0xff);
		void *end = (void *)(long)ctx->data_end;

		if (i >= length)
			break;
		if ((void *)(to + 1) > end || (void *)(from + 1) > end)
			return -1;
		*to = *from;
	}
	return bpf_xdp_adjust_tail(ctx, -moved);
}

int dirty(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct plan *plan = plans.lookup(&zero);

	if (!plan || (plan->left ? tighten(ctx, plan->left) : fill(ctx)))
		return XDP_ABORTED;
	targets.call(ctx, 0);
	return XDP_ABORTED;
}
