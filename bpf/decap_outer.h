/* SPDX-License-Identifier: GPL-2.0-only */
/* The first half of the unwrapper: the outer packet's source, and the kind of tunnel. */
#ifndef XDPLB_DECAP_OUTER_H
#define XDPLB_DECAP_OUTER_H

#include "verifier.h"
#include "tunnel.h"
#include "decap_types.h"

#define IP_FRAGMENT 0x3fff /* "more fragments", or an offset */
#define IP_OFFSET 0x1fff
#define ECN_MASK 3
#define IPV6_ECN_SHIFT 4 /* in the second byte of the header: RFC 8200 §3 */

/* Parses Ethernet and up to two VLAN tags. */
static __always_inline int parse_link(struct packet *p)
{
	struct ethhdr *eth = frame_start(p);
	void *end = frame_end(p);

	if ((void *)(eth + 1) > end)
		return PASS(p, not_ip);
	p->network = sizeof(*eth);
	p->outer = eth->h_proto;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS; i++) {
		__be16 *tag = frame_start(p) + p->network;

		if (p->outer != bpf_htons(ETH_P_8021Q) && p->outer != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 2) > end)
			return PASS(p, not_ip);
		p->outer = tag[1];
		p->network += VLAN_LENGTH;
	}
	if (p->outer != bpf_htons(ETH_P_IP) && p->outer != bpf_htons(ETH_P_IPV6))
		return PASS(p, not_ip);
	return NEXT;
}

/* The ones' complement sum of a header without options. It is 0xffff if the checksum is right (RFC
 * 1071). The sum of ten 16-bit words is below 0x9fff7, the first fold leaves less than 0x10009, and
 * the second completes it.
 */
static __always_inline __u32 header_sum(const struct iphdr *ip)
{
	const __u16 *word = (const __u16 *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < sizeof(*ip) / sizeof(*word); i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* The length of a GRE header in front of IP, with or without a checksum; 0 if it is anything else.
 */
static __always_inline __u32 gre_length(struct packet *p, const struct gre_header *gre)
{
	if ((void *)(gre + 1) > frame_end(p))
		return 0;
	p->inner = gre->ethertype;
	if (p->inner != bpf_htons(ETH_P_IP) && p->inner != bpf_htons(ETH_P_IPV6))
		return 0;
	if (gre->flags == bpf_htons(GRE_CHECKSUM_PRESENT))
		return sizeof(*gre) + sizeof(struct gre_checksum);
	return gre->flags ? 0 : sizeof(*gre);
}

/* The length of UDP and GUE headers in front of IP, version 0 without options; 0 if it is anything
 * else.
 */
static __always_inline __u32 gue_length(struct packet *p, const struct gue_header *gue)
{
	if ((void *)(gue + 1) > frame_end(p) || gue->udp.dest != bpf_htons(GUE_PORT) ||
	    gue->version_length || gue->flags)
		return 0;
	if (gue->protocol == IPPROTO_IPV6)
		p->inner = bpf_htons(ETH_P_IPV6);
	else if (gue->protocol != IPPROTO_IPIP)
		return 0;
	return sizeof(*gue);
}

/* Finds the kind of tunnel, from what follows an IP header of `header` bytes. */
static __always_inline int parse_tunnel(struct packet *p, __u8 protocol, __u32 header)
{
	const void *inside = frame_start(p) + p->network + header;
	__u32 length = 0;

	p->shift = header;
	p->inner = bpf_htons(ETH_P_IP);
	if (protocol == IPPROTO_IPIP)
		return NEXT;
	if (protocol == IPPROTO_IPV6) {
		p->inner = bpf_htons(ETH_P_IPV6);
		return NEXT;
	}
	if (protocol == IPPROTO_GRE)
		length = gre_length(p, inside);
	else if (protocol == IPPROTO_UDP)
		length = gue_length(p, inside);
	p->shift += length;
	return length ? NEXT : PASS(p, not_tunnel);
}

/* Parses the outer header. The source is checked first, because a packet that is not from a
 * director is passed up whatever is in it. Behind options, and in a later fragment, there is no GRE
 * or GUE header to read.
 */
static __always_inline int parse_ipv4(struct packet *p)
{
	struct iphdr *ip = frame_start(p) + p->network;
	struct prefix from = { .length = 128 };
	__u32 header, length;
	int verdict;

	if ((void *)(ip + 1) > frame_end(p))
		return PASS(p, truncated);
	if ((ip->ihl != 5 || ip->frag_off & bpf_htons(IP_OFFSET)) && ip->protocol != IPPROTO_IPIP &&
	    ip->protocol != IPPROTO_IPV6)
		return PASS(p, not_tunnel);
	if ((verdict = parse_tunnel(p, ip->protocol, sizeof(*ip))) != NEXT)
		return verdict;
	map_address(from.address, ip->saddr);
	if (!directors.lookup(&from))
		return PASS(p, not_director);
	if (ip->frag_off & bpf_htons(IP_FRAGMENT))
		return PASS(p, fragment);

	header = ip->ihl * 4;
	length = host_length(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || length < header ||
	    p->network + length > frame_length(p))
		return DROP(p, outer);
	if (header > sizeof(*ip))
		return PASS(p, options);
	if (header_sum(ip) != 0xffff)
		return DROP(p, checksum);
	if (length < p->shift)
		return DROP(p, outer);
	p->payload = length - p->shift;
	p->ecn = ip->tos & ECN_MASK;
	return NEXT;
}

static __always_inline bool is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_DSTOPTS;
}

static __always_inline int parse_ipv6(struct packet *p)
{
	struct ipv6hdr *ip = frame_start(p) + p->network;
	struct prefix from = { .length = 128 };
	__u32 length;
	int verdict;

	if ((void *)(ip + 1) > frame_end(p))
		return PASS(p, truncated);
	if (!is_extension(ip->nexthdr) &&
	    (verdict = parse_tunnel(p, ip->nexthdr, sizeof(*ip))) != NEXT)
		return verdict;
	copy_address(from.address, &ip->saddr);
	if (is_mapped(&ip->saddr) || !directors.lookup(&from))
		return PASS(p, not_director);
	if (ip->nexthdr == IPPROTO_FRAGMENT)
		return PASS(p, fragment);
	if (is_extension(ip->nexthdr))
		return PASS(p, options);

	length = sizeof(*ip) + host_length(ip->payload_len);
	if (ip->version != 6 || length < p->shift || p->network + length > frame_length(p))
		return DROP(p, outer);
	p->payload = length - p->shift;
	p->ecn = ((__u8 *)ip)[1] >> IPV6_ECN_SHIFT & ECN_MASK;
	return NEXT;
}

static __always_inline int parse_outer(struct packet *p)
{
	return p->outer == bpf_htons(ETH_P_IP) ? parse_ipv4(p) : parse_ipv6(p);
}

#endif
