/* SPDX-License-Identifier: GPL-2.0-only */
/* Every struct and enum that C and Python share. Python reads the layouts from BCC's descriptions of
 * the tables and the enums from this text: nothing here is typed twice.
 */
#ifndef XDPLB_TYPES_H
#define XDPLB_TYPES_H

#include "counters.h"

/* An IP address in network order; IPv4 is stored v4-mapped (RFC 4291 §2.5.5.2), so that one set of
 * tables serves both families.
 */
struct address {
	__be64 high;
	__be64 low;
};

/* ---- what Python writes ------------------------------------------------------------------- */

#define BUCKET_WAYS 4

/* A VIP is named by its place: bucket number * BUCKET_WAYS + way. All zero: empty. */
struct vip_bucket {
	struct address vip[BUCKET_WAYS];
};

/* How a service finds a slot of its ring. */
enum pick {
	PICK_TURN = 0, /* one after the other: rr, wrr */
	PICK_MH = 1,   /* by the client's hash, as ip_vs_mh */
	PICK_SH = 2,   /* by the client's hash, as ip_vs_sh */
};

enum service_flag {
	SERVICE_HASH_PORT = 1,  /* the client's port is hashed too: mh-port, sh-port */
	SERVICE_RECORDED = 2,   /* every flow is recorded, whatever its slot says */
	SERVICE_ONE_PACKET = 4, /* no flows: each packet is balanced by itself */
	SERVICE_LIMITED = 8,    /* it has a limit of new flows: struct limit */
};

struct service {
	__u32 slots; /* of its ring that are in use */
	__u8 pick;   /* enum pick */
	__u8 flags;  /* enum service_flag */
	__u16 id;    /* its place in rings and turns, from 1 */
};

struct service_entry {
	__u64 key; /* of service_key(); 0: empty */
	struct service service;
};

struct service_bucket {
	struct service_entry entry[BUCKET_WAYS];
};

enum slot_flag {
	SLOT_RECORDED = 1, /* in transition: flows of this slot are looked up and recorded */
	SLOT_RESELECT = 2, /* mh-fallback: the owner by IPVS's table takes no new flows */
	/* While the service's pick changes, in all slots alike: what it was before. */
	SLOT_PREVIOUS_MH = 4,
	SLOT_PREVIOUS_SH = 8,
	SLOT_PREVIOUS_PORT = 16, /* the client's port was hashed too */
};

/* A slot of a ring. Reals by index, 0: none. While the pick changes, a ring is two: `real` belongs to the slots of the
 * present pick, `previous` to those of the previous one, and the two of one slot have nothing to do with each other.
 */
struct slot {
	__u16 real;     /* the present owner */
	__u16 previous; /* in transition: the owner before the change */
	__u32 flags; /* enum slot_flag */
};

struct turn {
	__u64 next; /* of the walk of rr and wrr through their ring, shared by all CPUs */
};

/* A key of `denied`. Its address is no struct address, which would be aligned by 8. */
struct prefix {
	__u32 length; /* in bits */
	__be32 address[4];
};

/* How many flows began in a tick: tick (32 bits) | flows (32). */
struct tally {
	__u64 word;
};

/* How many flows of a service may begin in a tick; 0: as many as come. */
struct limit {
	__u32 flows;        /* of all sources together */
	__u32 source_flows; /* of each source */
	struct tally tally; /* of all; the program's. A source's is in `sources`. */
};

#define FLOW_STATES 8

struct config {
	__u64 flow_key[2];          /* secret: flows hash by it */
	__u16 timeout[FLOW_STATES]; /* in ticks, by enum flow_state; 0 for FLOW_EMPTY */
	__u32 denying;              /* 1: `denied` has prefixes */
	__u8 pad[28];               /* buckets behind it begin on a cache line */
};

/* ---- what the program keeps --------------------------------------------------------------- */

/* A flow's record is one word, so that it is read and replaced whole:
 * tag (29 bits, the first of them 1) | state (3) | real (16) | last seen, in ticks (16).
 * A state's upper two bits say how readily its records are given up: see pick_victim().
 */
enum flow_state {
	FLOW_EMPTY = 0,
	FLOW_ESTABLISHED = 2, /* TCP */
	FLOW_UDP = 3,
	FLOW_NEW = 4,       /* TCP, only a SYN was seen */
	FLOW_UDP_NEW = 5,   /* UDP, one packet was seen */
	FLOW_CLOSING = 6,   /* TCP, FIN or RST seen */
	FLOW_MIDSTREAM = 7, /* TCP, in transition: one packet was seen, which was no SYN */
};

#define FLOW_WAYS 8

struct flow_bucket {
	__u64 entry[FLOW_WAYS];
};

/* An Ethernet header's addresses, destination first; by words, which copy faster than bytes. */
struct macs {
	__u32 word[3];
};

/* Where a frame for a real leaves, as bpf_fib_lookup() said. */
struct hop {
	struct macs macs;
	__u32 ifindex; /* 0: not known yet; maybe a VLAN device's */
	__u32 mtu;     /* of the route, bytes of IP packet */
};

#define MAX_TAGS 2

/* A VLAN device takes no frames from XDP: they leave by the interface below it, with its tags. */
struct vlan {
	__u32 parent;         /* 0: none, it is no VLAN device */
	__u32 tags;           /* how many */
	__be32 tag[MAX_TAGS]; /* as they stand in a frame, the outermost first */
};

/* How packets are wrapped on their way to a real: ipvsadm's --tun-type. */
enum tunnel_kind {
	TUNNEL_IPIP = 0,
	TUNNEL_GRE = 1,
	TUNNEL_GUE = 2,
};

enum tunnel_flag {
	TUNNEL_CHECKSUM = 1,   /* GRE's or UDP's over all that it carries: --tun-csum */
	TUNNEL_OUTER_IPV6 = 2, /* RIP and DIP are of IPv6 */
	TUNNEL_SPREAD = 4,     /* a source for each flow: `source_hosts` */
};

/* One word, so that it is read and replaced whole. */
struct tunnel {
	__u16 header_sum; /* of an outer IPv4 header's constant words; its source's if no other field is set */
	__u8 kind;  /* enum tunnel_kind */
	__u8 flags; /* enum tunnel_flag */
};

/* One real server of one service. The first 64 bytes are all that a packet needs. */
struct real {
	struct address address; /* RIP: outer destination */
	struct address source;  /* DIP: outer source; or the first of `source_hosts` */
	__u16 service;          /* id of the service it belongs to; 0: no real here */
	__u8 local;             /* the director itself: its packets go up */
	__u8 active;            /* which hop is in use; the other is free to be written */
	__u32 refreshed; /* tick when the hop in use was last found right; 0: it is not known */
	struct tunnel tunnel;
	struct hop hop[2];
	__be16 tunnel_port; /* GUE's */
	__u16 pad;
	__be32 source_hosts; /* of the source's last 32 bits, those that each flow has of its own */
	struct vlan vlan[2]; /* of `hop` */
	__u8 pad_line[4];
};

/* Of one real of one service; a service's own are the sum of its reals'. */
struct stats {
	__u64 packets;
	__u64 bytes; /* of IP packets as they came, without the tunnel's header */
	__u64 flows; /* begun */
	__u64 pad;
};

#define COUNTERS (sizeof(struct counters) / sizeof(__u64))

/* How many ICMP answers one CPU has sent in this tick. */
struct reply_limit {
	__u32 tick;
	__u32 sent;
};

/* A client of a slot with SLOT_RESELECT, for the packet that one CPU is working on: a rare program asks,
 * xdplb_reselect() answers.
 */
struct reselection {
	__u32 key;    /* the client's, as its slot was found by it */
	__u32 slot;   /* the client's */
	__u16 service;
	__u16 real;   /* in: the slot's own; out: the chosen one */
	__u8 answered;
	__u8 ipv6; /* 1: asked by xdplb_ipv6_rare() */
	__u16 pad;
};

/* Kinds of packets that have a program of their own, xdplb_<kind>() in xdplb.c, which the first one hands them over
 * to: what is rare costs the others neither time nor the verifier's patience.
 */
enum kind {
	KIND_RARE = 0, /* IPv4 that needs more than the fast way has */
	KIND_IPV6 = 1,
	KIND_IPV6_RARE = 2,
	KIND_RESELECT = 3, /* mh-fallback: chooses for a rare program, and hands the packet back */
};

#define KINDS 4

/* Tables of one value, which the program addresses without a lookup: see VALUE() in maps.h. */
enum direct {
	DIRECT_DIRECTOR = 1,
	DIRECT_FLOWS = 2,
	DIRECT_REALS = 3,
	DIRECT_CPUS = 4,
	DIRECT_SOURCES = 5,
	DIRECT_FRAGMENTS = 6,
	DIRECT_PATHS = 7,
};

#endif
