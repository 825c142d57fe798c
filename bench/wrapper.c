/* SPDX-License-Identifier: GPL-2.0-only */
/* Runs before the program under test, and undoes what that program did to the frame. BPF_PROG_TEST_RUN does not,
 * and a program that encapsulates would find no headroom at its 11th packet. The wrapper also gives each packet
 * its flow. It runs before `bounce`, too; the difference of the two is the target's cost.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/in.h>

#include "floor.h"

#define HEADERS 54 /* Ethernet, IPv4, TCP: no frame is shorter */
#define PLACES 63  /* a mask for offsets in a frame */

/* How the next flow's number is found, as in frames.Order. */
enum order {
	ORDER_FIXED = 0,
	ORDER_SEQUENTIAL = 1,
	ORDER_RANDOM = 2,
};

struct plan {
	__u64 link[2];       /* the frame's first 16 bytes */
	__u32 before_client; /* the four bytes before the client's last four; IPv4: TTL, protocol, sum */
	__u32 word;      /* in host order; IPv4: the VIP; IPv6: length, next header, hop limit */
	__u32 client_at; /* offset of before_client; the client's last four bytes follow it */
	__u32 word_at;
	__u32 ports_at;
	__u32 length; /* of the frame */
	__u32 target; /* which of `targets` comes next */
	__u32 order;
	__u32 flows; /* 0: 2^32 */
	__u32 services;
	__u32 first_service;
	__u32 pad;
	__u64 state;
};

BPF_F_TABLE("array", __u32, struct plan, plans, 1, BPF_F_MMAPABLE);
BPF_PROG_ARRAY(targets, 8);

struct line {
	__u64 word[8];
};

BPF_F_TABLE("array", __u32, struct line, lines, 1 << 20, BPF_F_MMAPABLE);

/* Random flows by Knuth's MMIX generator: cheaper than a helper call, and the same for all targets. */
static __always_inline __u32 next_flow(struct plan *plan)
{
	__u32 flow;

	if (plan->order == ORDER_FIXED)
		return 0;
	if (plan->order == ORDER_SEQUENTIAL) {
		flow = plan->state++;
		if (plan->flows && plan->state >= plan->flows)
			plan->state = 0;
		return flow;
	}
	plan->state = plan->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (plan->state >> 32) * plan->flows >> 32;
}

/* Flow n comes from 48.0.0.0 + n, or from an IPv6 address with these last 32 bits. Its port and its service depend on
 * n too. Service m is at 10.2.0.0 + m / 8, port 80 + m % 8. All IPv6 services are at one VIP: m / 8 is 0 there, so the
 * word does not change. Each store is at least as wide as the target's loads of the same bytes should be, so that the
 * processor can forward the store to the load.
 */
int wrap(struct xdp_md *ctx)
{
	__u32 zero = 0, flow, service, client_port, service_port;
	struct plan *plan = plans.lookup(&zero);
	void *data, *end, *client, *word, *ports;

	if (!plan)
		return XDP_ABORTED;
	if (bpf_xdp_adjust_head(ctx, (int)(ctx->data_end - ctx->data) - (int)plan->length))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	client = data + (plan->client_at & PLACES);
	word = data + (plan->word_at & PLACES);
	ports = data + (plan->ports_at & PLACES);
	if (data + HEADERS > end || client + 8 > end || word + 4 > end || ports + 4 > end)
		return XDP_ABORTED;
	flow = next_flow(plan);
	service = plan->first_service + ((__u64)(flow * 2654435761U) * plan->services >> 32);
	client_port = 0x8000 | ((flow ^ flow >> 24) & 0x7fff);
	service_port = 80 + (service & 7);
	*(__u64 *)data = plan->link[0];
	*(__u64 *)(data + 8) = plan->link[1];
	*(__u64 *)client =
		(__u64)bpf_htonl(0x30000000 | (flow & 0xffffff)) << 32 | plan->before_client;
	*(__u32 *)word = bpf_htonl(plan->word + (service >> 3));
	*(__u32 *)ports = bpf_htonl(client_port << 16 | service_port);
	targets.call(ctx, plan->target);
	return XDP_ABORTED;
}

/* Shows what the wrapper itself costs. */
int bounce(struct xdp_md *ctx)
{
	return XDP_TX;
}

/* The floor for programs that remember flows: the constant header, and a write to the flow's own cache line, in a
 * table as large as the director's.
 */
int remember(struct xdp_md *ctx)
{
	__u32 zero = 0, index, *client;
	struct plan *plan = plans.lookup(&zero);
	struct line *line;

	if (!plan)
		return XDP_ABORTED;
	client = (void *)(long)ctx->data + (plan->client_at & PLACES) + 4;
	if ((void *)(client + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	index = bpf_ntohl(*client) * 2654435761U >> 12;
	line = lines.lookup(&index);
	if (!line)
		return XDP_ABORTED;
	line->word[0]++;
	return write_outer(ctx);
}
