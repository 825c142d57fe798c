/* SPDX-License-Identifier: GPL-2.0-only */
/* The counters of packets. */
#ifndef XDPLB_COUNTERS_H
#define XDPLB_COUNTERS_H

#include <uapi/linux/types.h>

/* Each packet ends in exactly one of these. pass_*: the kernel's stack got it. drop_*: it is lost.
 */
struct counters {
	/* expected */
	__u64 forwarded;          /* sent to a real through the interface it came from */
	__u64 forwarded_redirect; /* sent to a real through another interface */
	__u64 replied_too_big; /* larger than the path to the real allows, with DF: answered by an ICMP error */
	__u64 pass_not_ip;     /* neither IPv4 nor IPv6: ARP, LLDP, … */
	__u64 pass_not_vip;    /* not addressed to a VIP */
	__u64 pass_no_service; /* to a VIP, but not to one of its services: look at `xdplb list` */
	__u64 pass_icmp; /* ICMP to a VIP, except errors about known flows; neighbour discovery: the kernel answers */
	__u64 pass_protocol; /* to a VIP, neither TCP, UDP nor ICMP */
	__u64 pass_fragment; /* a later fragment whose first fragment was not forwarded, or an invalid fragment */
	__u64 pass_ttl;    /* TTL or hop limit is 1 or less: the kernel handles it */
	__u64 pass_local;  /* the real is the director itself */
	__u64 drop_denied; /* to a VIP, from a prefix of `xdplb deny list` */
	/* worth a look when they grow */
	__u64 pass_truncated; /* too short for an IP header: the VIP cannot be read */
	__u64 pass_no_flow;   /* TCP in midstream, and the flow is unknown: the kernel resets it */
	__u64 pass_too_big;   /* larger than the path allows, without DF or with IP options */
	__u64 pass_merged;    /* several packets that GRO or TSO merged into one before XDP */
	__u64 pass_split;     /* a jumbo frame whose headers are not all in its first buffer */
	/* alarming */
	__u64 drop_malformed; /* to a VIP, with an invalid IP header */
	__u64 drop_length; /* to a VIP, and the length in the IP header is longer than the frame or shorter than the header */
	__u64 drop_truncated; /* to a VIP, and the packet ends within its transport or extension header */
	__u64 drop_no_real;  /* the service has no usable real: add one, or give one a weight */
	__u64 drop_no_route; /* no route to the real: look at `ip route get RIP` */
	__u64 drop_small_mtu; /* IPv6: the path to the real leaves less than 1280 bytes inside the tunnel */
	__u64 drop_no_neighbour; /* the next hop does not answer ARP or NDP: look at `ip neigh` */
	__u64 drop_reply_limit;  /* too many packets are too big: the rate of answers is limited */
	__u64 pass_no_program; /* a program is missing in `programs`: attach again; the kernel gets these packets until then */
	__u64 drop_headroom; /* the driver left no room before the frame for the outer header */
	__u64 drop_limited;  /* would begin a flow above its service's limit: a flood */
	__u64 drop_source_limited; /* would begin a flow above its service's limit for one source */
};

#endif
