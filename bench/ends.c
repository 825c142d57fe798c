/* SPDX-License-Identifier: GPL-2.0-only */
/* Both ends of an end-to-end measurement, and the least that can be in the director's place. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/in.h>

struct received {
	__u64 plain;
	__u64 wrapped; /* IP in IP */
};

struct headers {
	__u64 word[5]; /* Ethernet, IPv4 and the ports and a bit of TCP */
};

BPF_PERCPU_ARRAY(received, struct received, 1);
BPF_ARRAY(sent, struct headers, 1);

/* What is in the director's place. */
int bounce(struct xdp_md *ctx)
{
	return XDP_TX;
}

/* Live frames come back as the director left them, with its outer header over their Ethernet's: only their
 * bounds are restored (net/bpf/test_run.c, reset_ctx()). So each one's headers are written anew.
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

/* The real: counts IPv4 packets and does away with them; the rest, ARP, lives on. */
int receive(struct xdp_md *ctx)
{
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(ethernet + 1);
	struct received *counted;
	__u32 zero = 0;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end || ethernet->h_proto != bpf_htons(ETH_P_IP))
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
