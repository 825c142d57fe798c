/* SPDX-License-Identifier: GPL-2.0-only */
/* The floor: a constant outer header, 192.168.2.200 → 10.1.0.1, and nothing else. */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

struct outer {
	struct ethhdr eth;
	struct iphdr ip;
} __attribute__((packed));

static __always_inline int write_outer(struct xdp_md *ctx)
{
	struct outer header = {
		.eth = {
			.h_dest = { 2, 0, 0, 0, 0, 1 },
			.h_source = { 2, 0, 0, 0, 0, 2 },
			.h_proto = bpf_htons(ETH_P_IP),
		},
		.ip = {
			.version = 4,
			.ihl = 5,
			.tot_len = bpf_htons(OUTER_LENGTH),
			.frag_off = bpf_htons(0x4000),
			.ttl = 63,
			.protocol = IPPROTO_IPIP,
			.check = bpf_htons(OUTER_CHECK),
			.saddr = bpf_htonl(0xc0a802c8),
			.daddr = bpf_htonl(0x0a010001),
		},
	};
	struct outer *outer;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr)))
		return XDP_ABORTED;
	outer = (void *)(long)ctx->data;
	if ((void *)(outer + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	*outer = header;
	return XDP_TX;
}

int prepend(struct xdp_md *ctx)
{
	return write_outer(ctx);
}

#endif
