/* SPDX-License-Identifier: GPL-2.0-only */
/* The unwrapper's tables, its verdicts, and what it knows of a packet: all that decap.c's stages share. */
#ifndef XDPLB_DECAP_TYPES_H
#define XDPLB_DECAP_TYPES_H

#include <uapi/linux/types.h>

#define NEXT (-1)
#define VLAN_TAGS 2
#define VLAN_LENGTH 4
#define LINK_BYTES (ETH_HLEN + VLAN_TAGS * VLAN_LENGTH)

/* What an LPM trie is asked with: addresses of 128 bits, IPv4 as v4-mapped. ::/0 is any director. */
struct prefix {
	__u32 length;
	__be32 address[4];
};

struct address {
	__be32 word[4];
};

/* Each packet ends in exactly one of these. pass_*: went up as it came; drop_*: lost. */
struct counters {
	/* expected */
	__u64 decapsulated;
	__u64 pass_not_ip;     /* ARP, more than two VLAN tags, … */
	__u64 pass_not_tunnel; /* IP that is none of the tunnels above */
	/* worth a look when they grow */
	__u64 pass_not_director; /* a tunnel of somebody else's: a director not named at setup? */
	__u64 pass_not_vip;      /* from a director, for a VIP that this real does not have */
	__u64 pass_fragment;     /* the outer packet is in pieces: the path's MTU is too small */
	__u64 pass_options; /* the outer header has IP options or extensions: no director of ours sends them */
	__u64 pass_truncated; /* too short for an IP header */
	/* alarming */
	__u64 drop_outer;    /* an outer header that contradicts itself or the frame's length */
	__u64 drop_checksum; /* the outer header was damaged on its way; IPv4's has a checksum */
	__u64 drop_inner;    /* no whole IP packet inside */
	__u64 drop_nested;   /* a tunnel in the tunnel: somebody sends through the director */
	__u64 drop_ecn;      /* congestion was marked, and the client does not speak ECN */
	__u64 drop_no_head;  /* the driver refused to move the frame's start */
};

#define COUNTERS (sizeof(struct counters) / sizeof(__u64))

BPF_F_TABLE("lpm_trie", struct prefix, __u8, directors, MAX_DIRECTORS, BPF_F_NO_PREALLOC);
BPF_F_TABLE("hash", struct address, __u8, vips, MAX_VIPS, 0);
BPF_F_TABLE("percpu_array", __u32, struct counters, counters, 1, 0);

#define FATE(p, action, name) \
	((p)->fate = __builtin_offsetof(struct counters, name) / sizeof(__u64), (action))
#define PASS(p, reason) FATE(p, XDP_PASS, pass_##reason)
#define DROP(p, reason) FATE(p, XDP_DROP, drop_##reason)

struct link {
	__u16 word[LINK_BYTES / 2];
};

struct packet {
	struct xdp_md *ctx;
	__u32 network;       /* offset of the outer header */
	__u32 shift;         /* length of all headers to be stripped */
	__u32 payload;       /* length of what they carry */
	__u32 fate;          /* index of a counter */
	__u8 ecn;            /* of the outer header */
	__be16 outer, inner; /* ethertypes */
};

/* An IPv4 address in the tables' form. No IPv6 packet may name it so, or it would be taken for the other. */
static __always_inline void map_address(__be32 *word, __be32 address)
{
	word[0] = 0;
	word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = address;
}

static __always_inline bool is_mapped(const struct in6_addr *address)
{
	const __be32 *word = address->in6_u.u6_addr32;

	return !word[0] && !word[1] && word[2] == bpf_htonl(0xffff);
}

static __always_inline void copy_address(__be32 *word, const struct in6_addr *address)
{
	__builtin_memcpy(word, address, sizeof(*address));
}

static __always_inline void *frame_start(const struct packet *p)
{
	return (void *)(long)p->ctx->data;
}

/* Of the first buffer: a jumbo frame has more (xdp.frags), and all that is looked at in this one. */
static __always_inline void *frame_end(const struct packet *p)
{
	return (void *)(long)p->ctx->data_end;
}

static __always_inline __u64 frame_length(const struct packet *p)
{
	return bpf_xdp_get_buff_len(p->ctx);
}

#endif
