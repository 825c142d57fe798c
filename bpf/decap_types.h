/* SPDX-License-Identifier: GPL-2.0-only */
/* What the stages of decap.c share: tables, verdicts and struct packet. */
#ifndef XDPLB_DECAP_TYPES_H
#define XDPLB_DECAP_TYPES_H

#include <uapi/linux/types.h>

#define NEXT (-1)
#define VLAN_TAGS 2
#define VLAN_LENGTH 4
#define LINK_BYTES (ETH_HLEN + VLAN_TAGS * VLAN_LENGTH)

/* A key of the LPM trie: an address of 128 bits, IPv4 as v4-mapped. ::/0 means any director. */
struct prefix {
	__u32 length;
	__be32 address[4];
};

struct address {
	__be32 word[4];
};

/* Each packet ends in exactly one of these. pass_*: it was passed up unchanged. drop_*: it is lost.
 */
struct counters {
	/* expected */
	__u64 decapsulated;
	__u64 pass_not_ip;     /* ARP, more than two VLAN tags, … */
	__u64 pass_not_tunnel; /* IP, but none of the tunnels above */
	/* worth a look when they grow */
	__u64 pass_not_director; /* a tunnel from another source: a director that was not named at setup? */
	__u64 pass_not_vip;  /* from a director, for a VIP that this real does not have */
	__u64 pass_fragment; /* the outer packet is fragmented: the path's MTU is too small */
	__u64 pass_options; /* the outer header has IP options or extension headers; our directors send none */
	__u64 pass_truncated; /* too short for an IP header */
	/* alarming */
	__u64 drop_outer;    /* the outer header contradicts itself or the frame's length */
	__u64 drop_checksum; /* the outer IPv4 header's checksum is wrong */
	__u64 drop_inner;    /* there is no complete IP packet inside */
	__u64 drop_nested;   /* another tunnel inside: somebody sends tunnel packets to the VIP */
	__u64 drop_ecn;      /* congestion was marked, and the client does not support ECN */
	__u64 drop_no_head;  /* the driver refused to move the frame's head */
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
	__u32 network;       /* offset of the outer IP header */
	__u32 shift;         /* length of all headers to remove */
	__u32 payload;       /* length of the inner packet */
	__u32 fate;          /* index of a counter */
	__u8 ecn;            /* of the outer header */
	__be16 outer, inner; /* ethertypes */
};

/* Writes an IPv4 address in the tables' form. An IPv6 packet with such an address must be excluded
 * before, or it would match.
 */
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

/* The end of the first buffer. A jumbo frame has more buffers (xdp.frags), but all headers are in
 * the first one.
 */
static __always_inline void *frame_end(const struct packet *p)
{
	return (void *)(long)p->ctx->data_end;
}

static __always_inline __u64 frame_length(const struct packet *p)
{
	return bpf_xdp_get_buff_len(p->ctx);
}

#endif
