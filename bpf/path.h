/* SPDX-License-Identifier: GPL-2.0-only */
/* The path MTU to a real, if a router reported one (RFC 1191, RFC 8201). The tunnel's packets have
 * this host's address as their source, so the report arrives here. The kernel does not know the
 * tunnel and ignores the report:
 *
 *	| Ethernet | IP router → DIP, protocol 1 or 58 | too big, MTU | IP DIP → RIP, protocol 4, 41, 47 or 17 | …
 *
 * There is one record for each RIP, however many services have it:
 *
 *	1 | tag (31 bits) | MTU (16; all ones: none reported) | tick when it was stored (16)
 *
 * refresh_hop() creates a record for each real that is in use, and a report only changes a record
 * that exists. So forged ICMP can neither fill the table nor replace a record of another real. (It
 * can lower a known real's MTU to the minimum, as it can for any host.) The quoted source must be
 * the address to which the ICMP packet was sent. It may be any address of this host, because a
 * service may have changed its outer source since.
 */
#ifndef XDPLB_PATH_H
#define XDPLB_PATH_H

#include "icmp_error.h"
#include "timed_record.h"

#define PATH_LIFE \
	600 /* ticks, as net.ipv4.route.mtu_expires: then larger packets are tried again */
#define IPV4_LEAST_MTU 552  /* net.ipv4.route.min_pmtu: a smaller reported MTU is not believed */
#define IPV6_LEAST_MTU 1280 /* RFC 8200 §5; RFC 8201 §4 */
#define ANY_MTU 0xffff
#define PATH_TAG_SHIFT 32
#define PATH_MTU_SHIFT 16

static __always_inline __u64 hash_path(const struct packet *p, __u64 high, __u64 low)
{
	const struct config *config = &p->director->config;
	__u64 value = (high ^ low ^ config->flow_key[0]) * (config->flow_key[1] | 1);

	return fold_multiply(value ^ value >> 32, GOLDEN_RATIO_64) | TAG_NOT_EMPTY;
}

static __always_inline volatile __u64 *find_path(const struct packet *p, __u64 hash)
{
	__u64 index = hash & ((1 << PATH_BUCKET_BITS) - 1);

	return find_timed_record(NTH(flow_bucket, *(union all_paths *)VALUE(DIRECT_PATHS), index),
				 hash, PATH_TAG_SHIFT, p->tick);
}

static __always_inline __u64 make_path(__u64 hash, __u64 mtu, __u32 tick)
{
	return hash >> PATH_TAG_SHIFT << PATH_TAG_SHIFT | mtu << PATH_MTU_SHIFT | (tick & 0xffff);
}

/* The path MTU that was reported for a real. Creates the real's record if there is none. */
static __always_inline __u32 path_mtu(const struct packet *p, const struct real *real)
{
	__u64 hash = hash_path(p, real->address.high, real->address.low);
	volatile __u64 *place = find_path(p, hash);
	__u64 record = *place;

	if (is_fresh(record, hash, PATH_TAG_SHIFT, p->tick, PATH_LIFE))
		return record >> PATH_MTU_SHIFT & 0xffff;
	*place = make_path(hash, ANY_MTU, p->tick);
	return ANY_MTU;
}

static __always_inline __u64 at_least(__u64 least, __u64 value)
{
	return value < least ? least : value;
}

static __always_inline bool is_tunnelled(__u8 protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_GRE ||
	       protocol == IPPROTO_UDP;
}

/* A router's report about the path to a real. */
struct path_report {
	struct address real;
	__u64 mtu; /* 0: the packet is not a report */
};

static __always_inline void read_report_ipv4(const struct packet *p, struct path_report *report)
{
	const struct iphdr *ip = frame_start(p) + IP_AT;
	const struct icmp_error *error = (const void *)(ip + 1);
	const struct iphdr *quoted = &error->quoted;

	if ((void *)(error + 1) > frame_end(p) || *(__u8 *)ip != IP_VERSION_IHL ||
	    ip->protocol != IPPROTO_ICMP ||
	    ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_OFFSET) ||
	    host_length(ip->tot_len) < sizeof(*ip) + sizeof(*error))
		return;
	if (error->icmp.type != ICMP_DEST_UNREACH || error->icmp.code != ICMP_FRAG_NEEDED)
		return;
	if (*(__u8 *)quoted != IP_VERSION_IHL || quoted->saddr != ip->daddr ||
	    !(quoted->frag_off & bpf_htons(IP_DONT_FRAGMENT)) || !is_tunnelled(quoted->protocol))
		return;
	report->real.low = v4_mapped(quoted->daddr);
	report->mtu = at_least(IPV4_LEAST_MTU, bpf_ntohs(error->icmp.un.frag.mtu));
}

static __always_inline void read_report_ipv6(const struct packet *p, struct path_report *report)
{
	const struct ipv6hdr *ip = frame_start(p) + IP_AT;
	const struct icmpv6_error *error = (const void *)(ip + 1);
	const struct ipv6hdr *quoted = &error->quoted;

	if ((void *)(error + 1) > frame_end(p) || ip->nexthdr != IPPROTO_ICMPV6 ||
	    host_length(ip->payload_len) < sizeof(*error))
		return;
	if (error->type != ICMPV6_PKT_TOOBIG || *(__u8 *)quoted >> 4 != 6 ||
	    is_reserved((const void *)&quoted->daddr) ||
	    !same_address(&quoted->saddr, &ip->daddr) || !is_tunnelled(quoted->nexthdr))
		return;
	report->real = *(const struct address *)&quoted->daddr;
	report->mtu = at_least(IPV6_LEAST_MTU, bpf_ntohl(error->mtu));
}

/* Lowers the path MTU in a real's record, as __ip_rt_update_pmtu() and rt6_do_update_pmtu() do. A
 * report of the same MTU restarts the record's lifetime.
 */
static __always_inline void learn_path(struct packet *p)
{
	struct path_report report = {};
	volatile __u64 *place;
	__u64 hash, record;

	if (is_ipv6(p))
		read_report_ipv6(p, &report);
	else
		read_report_ipv4(p, &report);
	if (!report.mtu || report.mtu >= ANY_MTU)
		return;
	p->tick = tick_now();
	hash = hash_path(p, report.real.high, report.real.low);
	place = find_path(p, hash);
	record = *place;
	if ((record ^ hash) >> PATH_TAG_SHIFT ||
	    (is_fresh(record, hash, PATH_TAG_SHIFT, p->tick, PATH_LIFE) &&
	     (record >> PATH_MTU_SHIFT & 0xffff) < report.mtu))
		return;
	*place = make_path(hash, report.mtu, p->tick);
}

#endif
