/* SPDX-License-Identifier: GPL-2.0-only */
/* Tunnel headers. The director writes them, the unwrapper reads them. */
#ifndef XDPLB_TUNNEL_H
#define XDPLB_TUNNEL_H

#include <uapi/linux/types.h>

#define GRE_CHECKSUM_PRESENT 0x8000

/* RFC 2784 §2.1. The checksum is present if its flag is set. */
struct gre_header {
	__be16 flags;
	__be16 ethertype;
};

struct gre_checksum {
	__u16 check;
	__u16 reserved;
};

/* The UDP header and the GUE header. Except for the protocol, the GUE header is all 0: version 0,
 * no options, no flags.
 */
struct gue_header {
	struct udphdr udp;
	__u8 version_length; /* version, and the length of the options in words of 32 bits */
	__u8 protocol;
	__be16 flags;
};

#endif
