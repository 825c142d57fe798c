/* SPDX-License-Identifier: GPL-2.0-only */
/* Headers of tunnels, as the director writes and the unwrapper reads them. */
#ifndef XDPLB_TUNNEL_H
#define XDPLB_TUNNEL_H

#include <uapi/linux/types.h>

#define GRE_CHECKSUM_PRESENT 0x8000

/* RFC 2784 §2.1; its checksum is there if its flag is. */
struct gre_header {
	__be16 flags;
	__be16 ethertype;
};

struct gre_checksum {
	__u16 check;
	__u16 reserved;
};

/* UDP's header and GUE's own, which is all 0 but for what it carries: version 0, no options, no flags. */
struct gue_header {
	struct udphdr udp;
	__u8 version_length; /* of the options, in words */
	__u8 protocol;
	__be16 flags;
};

#endif
