/* SPDX-License-Identifier: GPL-2.0-only */
/* From the frame's first byte to the ports. In two stages, since a packet that is for no VIP passes
 * whatever it looks like: parse_network() reads no more than the addresses, and complains of nothing;
 * parse_transport() runs only for VIPs.
 */
#ifndef XDPLB_PARSE_H
#define XDPLB_PARSE_H

#include "length.h"
#include "verdict.h"

#define IP_MORE_FRAGMENTS 0x2000
#define IP_OFFSET 0x1fff
#define IP_DONT_FRAGMENT 0x4000

#define IP_IHL 5 /* of a header without options, in words */
#define IP_VERSION_IHL (4 << 4 | IP_IHL)

#define IP_AT ((int)sizeof(struct ethhdr)) /* tags are off: see vlan.h */

#define TCP_FLAGS_OFFSET 13 /* RFC 9293 §3.1 */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* The low word of ::ffff:a.b.c.d; the high one is 0. Little-endian hosts only, as is all of BCC's x86
 * and arm64.
 */
static __always_inline __be64 v4_mapped(__be32 address)
{
	return (__u64)address << 32 | bpf_htonl(0xffff);
}

static __always_inline __be32 v4_part(const struct address *mapped)
{
	return ((const __be32 *)&mapped->low)[1];
}

enum fragment {
	FRAGMENT_NONE = 0, /* a whole packet */
	FRAGMENT_FIRST = 1,
	FRAGMENT_LATER = 2, /* has no ports */
};

/* Only xdplb_rare() has any. */
static __always_inline bool is_fragment(const struct packet *p)
{
	return p->rare && p->fragment != FRAGMENT_NONE;
}

static __always_inline bool is_first_fragment(const struct packet *p)
{
	return p->rare && p->fragment == FRAGMENT_FIRST;
}

static __always_inline bool is_later_fragment(const struct packet *p)
{
	return p->rare && p->fragment == FRAGMENT_LATER;
}

/* Not a packet of its flow, but an ICMP error about one: see icmp_error.h. Only xdplb_rare() has any. */
static __always_inline bool is_error(const struct packet *p)
{
	return p->rare && p->error;
}

/* UDP's packets have no flags: they open none. */
static __always_inline bool opens_connection(const struct packet *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

static __always_inline int parse_network(struct packet *p)
{
	__be16 *ethertype = frame_start(p) + sizeof(struct macs);
	struct iphdr *ip = (void *)(ethertype + 1);
	void *end = frame_end(p);

	if ((void *)ip > end || *ethertype != bpf_htons(ETH_P_IP))
		return PASS(p, not_ipv4);
	if ((void *)(ip + 1) > end)
		return PASS(p, truncated);
	p->protocol = ip->protocol;
	p->client.low = v4_mapped(ip->saddr);
	p->vip.low = v4_mapped(ip->daddr);
	return NEXT;
}

static __always_inline int parse_ports(struct packet *p)
{
	struct tcphdr *tcp = frame_start(p) + p->transport;
	void *end = frame_end(p);
	__u64 payload = p->length - (p->transport - IP_AT);

	if (p->protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > end || payload < sizeof(*tcp))
			return DROP(p, malformed);
		p->tcp_flags = ((__u8 *)tcp)[TCP_FLAGS_OFFSET];
	} else if (p->protocol == IPPROTO_UDP) {
		if ((void *)tcp + sizeof(struct udphdr) > end || payload < sizeof(struct udphdr))
			return DROP(p, malformed);
	} else if (p->protocol == IPPROTO_ICMP) {
		return p->rare ? NEXT : HAND_OVER(p, KIND_RARE);
	} else {
		return PASS(p, protocol);
	}
	/* TCP's and UDP's ports lie at the same place. */
	p->client_port = tcp->source;
	p->service_port = tcp->dest;
	return NEXT;
}

/* A first fragment has to begin with a whole header: who sends another (RFC 1858) is no client to be balanced. */
static __always_inline int parse_fragment(struct packet *p, const struct iphdr *ip)
{
	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
		return PASS(p, fragment);
	p->fragment_id = ip->id;
	p->fragment = ip->frag_off & bpf_htons(IP_OFFSET) ? FRAGMENT_LATER : FRAGMENT_FIRST;
	if (p->fragment == FRAGMENT_LATER || parse_ports(p) == NEXT)
		return NEXT;
	return PASS(p, fragment);
}

static __always_inline int parse_transport(struct packet *p)
{
	struct iphdr *ip = frame_start(p) + IP_AT;
	void *end = frame_end(p);
	__u64 first, header;
	bool fragment;

	if ((void *)(ip + 1) > end)
		return DROP(p, malformed);
	first = *(__u8 *)ip;
	header = (first & 0xf) * 4;
	p->length = host_length(ip->tot_len);
	if (first - IP_VERSION_IHL > 0xf - IP_IHL || p->length < header ||
	    (void *)ip + p->length > end)
		return DROP(p, malformed);
	fragment = ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET);
	if (fragment && !p->rare)
		return HAND_OVER(p, KIND_RARE);
	if (ip->ttl <= 1)
		return PASS(p, ttl);
	p->transport = IP_AT + header;
	return fragment ? parse_fragment(p, ip) : parse_ports(p);
}

#endif
