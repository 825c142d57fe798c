/* SPDX-License-Identifier: GPL-2.0-only */
/* What may become of a packet. */
#ifndef XDPLB_COUNTERS_H
#define XDPLB_COUNTERS_H

#include <uapi/linux/types.h>

/* Each packet ends in exactly one of these. pass_*: went up to the kernel's stack; drop_*: lost. */
struct counters {
	/* expected */
	__u64 forwarded;          /* left for a real, by the interface it came in on */
	__u64 forwarded_redirect; /* left for a real by another interface */
	__u64 replied_too_big; /* answered with ICMP: larger than the path to the real takes, with DF */
	__u64 pass_not_ip;     /* neither IPv4 nor IPv6: ARP, LLDP, … */
	__u64 pass_not_vip;    /* addressed to no VIP */
	__u64 pass_no_service; /* to a VIP, but to no service on it: look at `xdplb list` */
	__u64 pass_icmp; /* ICMP to a VIP, but for errors about a known flow; neighbour discovery: the kernel answers */
	__u64 pass_protocol; /* to a VIP, neither TCP, UDP nor ICMP */
	__u64 pass_fragment; /* a later fragment whose first one was not forwarded, or a strange one */
	__u64 pass_ttl;      /* TTL or hop limit used up: not to be sent on; the kernel has it */
	__u64 pass_local;    /* its real is the director itself */
	__u64 drop_denied; /* to a VIP, from a prefix of `xdplb deny list` */
	/* worth a look when they grow */
	__u64 pass_truncated; /* too short for an IP header: the VIP cannot be read */
	__u64 pass_no_flow; /* TCP in midstream, and the flow is not known: the kernel resets it */
	__u64 pass_too_big; /* larger than the path takes, without DF or with IP options */
	__u64 pass_merged;  /* several packets that were merged into one: GRO or TSO before XDP */
	__u64 pass_split;   /* a jumbo frame whose headers do not lie in its first buffer */
	/* alarming */
	__u64 drop_malformed; /* to a VIP, with an IP header that cannot be */
	__u64 drop_length; /* to a VIP, longer by its IP header than what came, or shorter than that header */
	__u64 drop_truncated; /* to a VIP, with an end within the headers behind its IP header */
	__u64 drop_no_real;   /* the service has no usable real: add one, or give one a weight */
	__u64 drop_no_route;  /* no route to the real: look at `ip route get RIP` */
	__u64 drop_small_mtu; /* IPv6: the path to the real leaves less than 1280 bytes inside the tunnel */
	__u64 drop_no_neighbour; /* the next hop does not answer ARP or NDP: look at `ip neigh` */
	__u64 drop_reply_limit;  /* too many packets that are too big: their answers are limited */
	__u64 pass_no_program; /* `programs` lacks one: attach again; the kernel has it meanwhile */
	__u64 drop_headroom;   /* the driver left no room before the frame for the outer header */
	__u64 drop_limited;    /* would begin a flow beyond its service's limit: a flood */
	__u64 drop_source_limited; /* the same, beyond what the service takes of one source */
};

#endif
