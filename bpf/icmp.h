/* SPDX-License-Identifier: GPL-2.0-only */
/* The ICMP error about a packet that is too big for the path to its real (RFC 1191). It comes from
 * the VIP, goes back the way the packet came, names the MTU inside the tunnel, and quotes the
 * packet's IP header and the 8 bytes behind it.
 */
#ifndef XDPLB_ICMP_H
#define XDPLB_ICMP_H

#include "csum.h"
#include "icmpv6.h"
#include "parse.h"

#define REPLIES_PER_TICK 1000 /* on each CPU */
#define IPTOS_TOS_NOT_ECN 0x1c
#define IPTOS_INTERNETCONTROL 0xc0 /* as icmp_send() sets it */
#define QUOTED_PAYLOAD 8           /* RFC 792: the ports and TCP's sequence number */

struct too_big {
	struct iphdr ip;
	struct icmphdr icmp;
	struct iphdr quoted;
	__u8 quoted_payload[QUOTED_PAYLOAD];
};

#define TOO_BIG_ADDED ((int)(sizeof(struct iphdr) + sizeof(struct icmphdr)))

static __always_inline bool may_reply(const struct packet *p)
{
	struct reply_limit *limit = &p->cpu->reply_limit;

	if (limit->tick != p->tick) {
		limit->tick = p->tick;
		limit->sent = 0;
	}
	return limit->sent++ < REPLIES_PER_TICK;
}

/* Whether an error may be sent to the packet's source: not if the frame was a link-layer multicast
 * or broadcast, and not if the source is no single host: "this" network, loopback, multicast and
 * beyond (RFC 1122 §3.2.2). reply_too_big() excludes errors about errors and about later fragments.
 */
static __always_inline bool may_be_answered(const struct packet *p)
{
	__u8 network = p->client.low >> 32, *destination = frame_start(p);

	if ((void *)(destination + 1) > frame_end(p) || *destination & 1)
		return false;
	return is_ipv6(p) ? is_ipv6_host(&p->client) : network && network != 127 && network < 224;
}

/* At most 28 words of 16 bits, so the sum fits in 32 bits. */
static __always_inline __u16 csum_of(const void *start, int bytes)
{
	const __u16 *words = start;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < bytes / 2; i++)
		sum += words[i];
	return csum_fold(sum);
}

static __always_inline int swap_macs(struct packet *p, int added)
{
	struct ethhdr *old = frame_start(p) + added, *eth = frame_start(p);
	struct ethhdr swapped;

	if ((void *)(old + 1) > frame_end(p))
		return DROP(p, headroom);
	__builtin_memcpy(swapped.h_dest, old->h_source, sizeof(swapped.h_dest));
	__builtin_memcpy(swapped.h_source, old->h_dest, sizeof(swapped.h_source));
	swapped.h_proto = old->h_proto;
	*eth = swapped;
	return NEXT;
}

static __always_inline bool write_too_big(struct packet *p, __u32 mtu)
{
	struct too_big *reply = frame_start(p) + IP_AT;

	if ((void *)(reply + 1) > frame_end(p))
		return false;
	reply->ip = (struct iphdr){
		.version = 4,
		.ihl = sizeof(reply->ip) / 4,
		.tos = (reply->quoted.tos & IPTOS_TOS_NOT_ECN) | IPTOS_INTERNETCONTROL,
		.tot_len = bpf_htons(sizeof(*reply)),
		.ttl = 64,
		.protocol = IPPROTO_ICMP,
		.saddr = p->vip.low >> 32,
		.daddr = p->client.low >> 32,
	};
	reply->ip.check = csum_of(&reply->ip, sizeof(reply->ip));
	reply->icmp = (struct icmphdr){
		.type = ICMP_DEST_UNREACH,
		.code = ICMP_FRAG_NEEDED,
	};
	reply->icmp.un.frag.mtu = bpf_htons(mtu);
	reply->icmp.checksum = csum_of(&reply->icmp, sizeof(*reply) - sizeof(reply->ip));
	return true;
}

/* The quote has a fixed length. IPv4 options do not fit in it. An IPv6 packet that is too big is
 * always longer than the quote.
 */
static __always_inline bool fits_quote(const struct packet *p)
{
	return is_ipv6(p) || p->transport == IP_AT + sizeof(struct iphdr);
}

static __always_inline int reply_too_big(struct packet *p, __u32 mtu)
{
	int quoted = is_ipv6(p) ? TOO_BIG6_QUOTED : sizeof(struct iphdr) + QUOTED_PAYLOAD;
	int added = is_ipv6(p) ? TOO_BIG6_ADDED : TOO_BIG_ADDED;
	int verdict, kept = IP_AT + quoted;

	if (!fits_quote(p) || !may_be_answered(p) || is_error(p) || is_later_fragment(p))
		return PASS(p, too_big);
	if (!may_reply(p))
		return DROP(p, reply_limit);
	if (bpf_xdp_adjust_tail(p->ctx, kept - (int)frame_length(p)) || !move_head(p, -added))
		return DROP(p, headroom);
	if ((verdict = swap_macs(p, added)) != NEXT)
		return verdict;
	if (!(is_ipv6(p) ? write_too_big6(p, mtu) : write_too_big(p, mtu)))
		return DROP(p, headroom);
	return FATE(p, XDP_TX, replied_too_big);
}

static __always_inline bool may_fragment(const struct packet *p)
{
	struct iphdr *ip = frame_start(p) + IP_AT;

	return (void *)(ip + 1) > frame_end(p) || !(ip->frag_off & bpf_htons(IP_DONT_FRAGMENT));
}

/* Checks that the wrapped packet fits the path, as ensure_mtu_is_adequate() in ip_vs_xmit.c does.
 * Without DF the kernel gets the packet and may fragment it. No IPv6 sender makes packets smaller
 * than the minimum MTU, 1280. If the path has less room inside the tunnel, packets up to 1280 bytes
 * that do not fit are dropped.
 */
static __always_inline int check_size(struct packet *p, __u64 mtu, __u64 added)
{
	if (p->length + added <= mtu)
		return NEXT;
	if (!is_ipv6(p))
		return may_fragment(p) ? PASS(p, too_big) : reply_too_big(p, mtu - added);
	if (p->length <= IPV6_LEAST_MTU)
		return DROP(p, small_mtu);
	return reply_too_big(p, at_least(IPV6_LEAST_MTU, mtu - added));
}

#endif
