/* SPDX-License-Identifier: GPL-2.0-only */
/* Every struct and enum that C and Python share. Python reads the struct layouts from BCC's
 * descriptions of the tables, and the enums from this text. Nothing here is written a second time.
 */
#ifndef XDPLB_TYPES_H
#define XDPLB_TYPES_H

#include "counters.h"

/* An IP address in network byte order. IPv4 addresses are stored v4-mapped (RFC 4291 §2.5.5.2), so
 * one set of tables serves both families.
 */
struct address {
	__be64 high;
	__be64 low;
};

/* ---- written by Python --------------------------------------------------------------------- */

#define BUCKET_WAYS 4

/* The number of a VIP is: bucket number * BUCKET_WAYS + way. An empty entry is all zero. */
struct vip_bucket {
	struct address vip[BUCKET_WAYS];
};

/* How a service picks a slot of its ring. */
enum pick {
	PICK_TURN = 0, /* one slot after the other: rr, wrr */
	PICK_MH = 1,   /* by a hash of the client, as ip_vs_mh does */
	PICK_SH = 2,   /* by a hash of the client, as ip_vs_sh does */
};

enum service_flag {
	SERVICE_HASH_PORT = 1,  /* the client's port is part of the hash: mh-port, sh-port */
	SERVICE_RECORDED = 2,   /* every flow is recorded, whatever the flags of its slot are */
	SERVICE_ONE_PACKET = 4, /* no flow is recorded: each packet is balanced on its own */
	SERVICE_LIMITED = 8,    /* the rate of new flows is limited: struct limit */
};

struct service {
	__u32 slots; /* how many slots of the ring are in use */
	__u8 pick;   /* enum pick */
	__u8 flags;  /* enum service_flag */
	__u16 id;    /* its index in rings, turns and limits, from 1 */
};

struct service_entry {
	__u64 key; /* service_key(); 0: the entry is empty */
	struct service service;
};

struct service_bucket {
	struct service_entry entry[BUCKET_WAYS];
};

enum slot_flag {
	SLOT_RECORDED = 1, /* the slot is in transition: its flows are looked up and recorded */
	SLOT_RESELECT = 2, /* mh-fallback: in IPVS's table, the slot's owner is drained */
	/* The previous pick, while the pick changes: alike in all slots of the ring. */
	SLOT_PREVIOUS_MH = 4,
	SLOT_PREVIOUS_SH = 8,
	SLOT_PREVIOUS_PORT = 16, /* the client's port was part of the hash */
};

/* In `previous`: the previous pick finds the owner. No real has this index; `real` never has it. */
enum slot_previous {
	PREVIOUS_BY_PICK = 65535,
};

/* A slot of a ring. Reals are named by index; 0 is no real. While a change of the pick is in
 * transition, the ring is two rings in one: the present pick finds the slot of `real`, the previous
 * pick finds the slot of `previous_pick_real`, and these two fields of one slot are unrelated.
 */
struct slot {
	__u16 real;               /* the present owner */
	__u16 previous;           /* in transition: the owner before the change */
	__u16 flags;              /* enum slot_flag */
	__u16 previous_pick_real; /* if `previous` is PREVIOUS_BY_PICK, in all slots */
};

struct turn {
	__u64 next; /* the number of turns taken so far by rr or wrr, on all CPUs together */
};

/* A key of the table `denied`. A struct address in it would be aligned to 8 bytes. */
struct prefix {
	__u32 length; /* in bits */
	__be32 address[4];
};

/* The number of flows that began in a tick: tick (32 bits) | flows (32 bits). */
struct tally {
	__u64 word;
};

/* How many flows of a service may begin in one tick. 0 means no limit. */
struct limit {
	__u32 flows;        /* from all sources together */
	__u32 source_flows; /* from each source */
	struct tally tally; /* by the program, of all sources */
};

#define FLOW_STATES 8

struct config {
	__u64 flow_key[2];          /* secret key of the flows' hash */
	__u16 timeout[FLOW_STATES]; /* in ticks, by enum flow_state; FLOW_EMPTY has 0 */
	__u32 denying;              /* 1: the table `denied` is not empty */
	__u8 pad[28];               /* the tables behind begin on a cache line */
};

/* ---- written by the program ---------------------------------------------------------------- */

/* A flow's record is one 64-bit word, so it is read and replaced as a whole:
 *
 *	tag (29 bits, the top bit is 1) | state (3) | real (16) | tick of the last packet (16)
 *
 * The upper two bits of the state say which records are replaced first: see pick_victim().
 */
enum flow_state {
	FLOW_EMPTY = 0,
	FLOW_ESTABLISHED = 2, /* TCP */
	FLOW_UDP = 3,
	FLOW_NEW = 4,       /* TCP, only a SYN was seen */
	FLOW_UDP_NEW = 5,   /* UDP, one packet was seen */
	FLOW_CLOSING = 6,   /* TCP, a FIN or RST was seen */
	FLOW_MIDSTREAM = 7, /* TCP, one packet was seen, in transition, and it was not a SYN */
};

#define FLOW_WAYS 8

struct flow_bucket {
	__u64 entry[FLOW_WAYS];
};

/* The addresses of an Ethernet header, destination first. Words copy faster than bytes. */
struct macs {
	__u32 word[3];
};

/* The next hop to a real, as bpf_fib_lookup() returned it. */
struct hop {
	struct macs macs;
	__u32 ifindex; /* 0: not known yet. It may be a VLAN device. */
	__u32 mtu;     /* of the route, in bytes of IP packet */
};

#define MAX_TAGS 2

/* XDP cannot send through a VLAN device. It sends through the interface below it, with the device's
 * VLAN tags.
 */
struct vlan {
	__u32 parent;         /* the interface below; 0: this is not a VLAN device */
	__u32 tags;           /* how many */
	__be32 tag[MAX_TAGS]; /* as in a frame, the outermost first */
};

/* The kind of tunnel to a real: ipvsadm's --tun-type. */
enum tunnel_kind {
	TUNNEL_IPIP = 0,
	TUNNEL_GRE = 1,
	TUNNEL_GUE = 2,
};

enum tunnel_flag {
	TUNNEL_CHECKSUM = 1,    /* GRE or UDP carries a checksum: --tun-csum */
	TUNNEL_OUTER_IPV6 = 2,  /* RIP and DIP are IPv6 addresses */
	TUNNEL_FLOW_SOURCE = 4, /* each flow has its own outer source: `source_hosts` */
};

/* One 32-bit word, so it is read and replaced as a whole. */
struct tunnel {
	__u16 header_sum; /* the sum of the outer IPv4 header's constant words; if kind and flags are 0, with the source */
	__u8 kind;  /* enum tunnel_kind */
	__u8 flags; /* enum tunnel_flag */
};

/* One real server of one service. A packet needs only the first 64 bytes. */
struct real {
	struct address address; /* RIP, the outer destination */
	struct address source;  /* DIP, the outer source; or the first address of its prefix */
	__u16 service;          /* id of its service; 0: the entry is unused */
	__u8 local;      /* 1: the real is the director itself, and its packets are passed up */
	__u8 active;     /* index of the hop in use; the other one may be rewritten */
	__u32 refreshed; /* tick when the hop in use was last confirmed; 0: never */
	struct tunnel tunnel;
	struct hop hop[2];
	__be16 tunnel_port; /* of GUE */
	__u16 pad;
	__be32 source_hosts; /* the host bits of the source's last 32 bits: each flow has its own */
	struct vlan vlan[2]; /* of `hop`, by the same index */
	__u8 pad_line[4];
};

/* What one CPU counted for one real. A service's figures are the sums over its reals. */
struct stats {
	__u64 packets;
	__u64 bytes; /* of the client's IP packets, without the tunnel's headers */
	__u64 flows; /* how many began */
	__u64 pad;
};

#define COUNTERS (sizeof(struct counters) / sizeof(__u64))

/* How many ICMP errors one CPU sent in this tick. */
struct reply_limit {
	__u32 tick;
	__u32 sent;
};

/* A rare program's question about this CPU's packet, and the answer of xdplb_reselect(). */
struct reselection {
	__u32 key;  /* client_key() */
	__u32 slot; /* of the client */
	__u16 service;
	__u16 real; /* question: the slot's real; answer: the chosen real */
	__u8 answered;
	__u8 ipv6; /* 1: xdplb_ipv6_rare() asked */
	__u16 pad;
};

/* Kinds of packets that have a program of their own, xdplb_<kind>() in xdplb.c: see HAND_OVER(). */
enum kind {
	KIND_RARE = 0, /* IPv4 packets that the main program does not handle */
	KIND_IPV6 = 1,
	KIND_IPV6_RARE = 2,
	KIND_RESELECT = 3, /* chooses a real for a rare program: mh-fallback */
};

#define KINDS 4

/* Tables that have one value. The program addresses it without a lookup: see VALUE() in maps.h. */
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
