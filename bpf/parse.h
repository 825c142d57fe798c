/* SPDX-License-Identifier: GPL-2.0-only */
/* Parsing, from the first byte of the frame to the ports, in two stages. parse_network() reads only
 * the addresses and rejects nothing, because a packet that is not for a VIP is passed up whatever
 * is in it. parse_transport() runs only for packets to VIPs.
 */
#ifndef XDPLB_PARSE_H
#define XDPLB_PARSE_H

#include "ipv4.h"
#include "ipv6.h"

#define TCP_FLAGS_OFFSET 13 /* RFC 9293 §3.1 */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Whether it is not a packet of its flow, but an ICMP error about one: see icmp_error.h. The main
 * program of a family handles no errors.
 */
static __always_inline bool is_error(const struct packet *p)
{
	return p->rare && p->error;
}

/* Whether it is a SYN. False for UDP, whose packets have no flags. */
static __always_inline bool opens_connection(const struct packet *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

static __always_inline int parse_network(struct packet *p)
{
	__be16 *ethertype = frame_start(p) + sizeof(struct macs);
	void *ip = ethertype + 1, *end = frame_end(p);

	if (ip > end)
		return PASS(p, not_ip);
	if (*ethertype == bpf_htons(is_ipv6(p) ? ETH_P_IPV6 : ETH_P_IP))
		return is_ipv6(p) ? read_ipv6_addresses(p, ip, end)
				  : read_ipv4_addresses(p, ip, end);
	if (!is_ipv6(p) && *ethertype == bpf_htons(ETH_P_IPV6))
		return HAND_OVER(p, KIND_IPV6);
	return PASS(p, not_ip);
}

static __always_inline int parse_ports(struct packet *p)
{
	struct tcphdr *tcp = frame_start(p) + p->transport;
	void *end = frame_end(p);
	__u64 payload = p->length - (p->transport - IP_AT);

	if (p->protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > end || payload < sizeof(*tcp))
			return missing_header(p, p->transport + sizeof(*tcp));
		p->tcp_flags = ((__u8 *)tcp)[TCP_FLAGS_OFFSET];
	} else if (p->protocol == IPPROTO_UDP) {
		if ((void *)tcp + sizeof(struct udphdr) > end || payload < sizeof(struct udphdr))
			return missing_header(p, p->transport + sizeof(struct udphdr));
	} else if (is_icmp(p)) {
		return p->rare ? NEXT : HAND_OVER_RARE(p);
	} else {
		return PASS(p, protocol);
	}
	/* TCP and UDP have their ports at the same offset. */
	p->client_port = tcp->source;
	p->service_port = tcp->dest;
	return NEXT;
}

/* A first fragment must contain the whole TCP or UDP header: a smaller one is an attack (RFC 1858).
 * A later IPv6 fragment does not tell its protocol; only the first one does.
 */
static __always_inline int parse_fragment(struct packet *p)
{
	if (is_ipv6(p) && is_later_fragment(p))
		return NEXT;
	if (!has_ports(p->protocol))
		return PASS(p, fragment);
	if (is_later_fragment(p) || parse_ports(p) == NEXT)
		return NEXT;
	return PASS(p, fragment);
}

static __always_inline int parse_transport(struct packet *p)
{
	int verdict = is_ipv6(p) ? check_ipv6(p) : check_ipv4(p);

	if (verdict != NEXT)
		return verdict;
	return is_fragment(p) ? parse_fragment(p) : parse_ports(p);
}

#endif
