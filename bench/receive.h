/* SPDX-License-Identifier: GPL-2.0-only */
/* The real servers: they count and drop IPv4 packets. Other packets (ARP) pass. */
#ifndef BENCH_RECEIVE_H
#define BENCH_RECEIVE_H

struct received {
	__u64 plain;
	__u64 wrapped; /* IP in IP */
};

BPF_PERCPU_ARRAY(received, struct received, 1);

int receive(struct xdp_md *ctx)
{
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct received *counted;
	__u32 zero = 0;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end ||
	    ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	counted = received.lookup(&zero);
	if (!counted)
		return XDP_PASS;
	if (ip->protocol == IPPROTO_IPIP)
		counted->wrapped++;
	else
		counted->plain++;
	return XDP_DROP;
}

#endif
