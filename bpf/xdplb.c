/* SPDX-License-Identifier: GPL-2.0-only */
/* The director. Python splices the headers in, once each, and gives sizes as -D. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>
#include <uapi/linux/in.h>
#include <uapi/linux/tcp.h>
#include <uapi/linux/udp.h>
#include <uapi/linux/icmp.h>
#include <uapi/linux/icmpv6.h>

#define AF_INET 2 /* include/linux/socket.h, which is not uapi */
#define AF_INET6 10

#include "types.h"
#include "maps.h"
#include "verdict.h"
#include "vlan.h"
#include "parse.h"
#include "icmp_error.h"
#include "service.h"
#include "deny.h"
#include "schedule.h"
#include "fragment.h"
#include "nexthop.h"
#include "icmp.h"
#include "encap.h"

/* The way's tags, in place of those that came. Attached to a VLAN device, the program sees none, and it puts its own. */
static __always_inline int send(struct packet *p, const struct real *real, const struct hop *hop)
{
	const struct vlan *vlan = &real->vlan[hop == &real->hop[1]];

	p->tags = 0;
	if (hop->ifindex == p->ctx->ingress_ifindex)
		return FATE(p, XDP_TX, forwarded);
	if (!vlan->parent)
		return FATE(p, bpf_redirect(hop->ifindex, 0), forwarded_redirect);
	p->tags = vlan->tags;
	p->tag[0] = vlan->tag[0];
	p->tag[1] = vlan->tag[1];
	if (vlan->parent == p->ctx->ingress_ifindex)
		return FATE(p, XDP_TX, forwarded);
	return FATE(p, bpf_redirect(vlan->parent, 0), forwarded_redirect);
}

static __always_inline int choose_real(struct packet *p, struct real **real, __u32 *index)
{
	struct service service;
	int verdict;

	if (is_later_fragment(p))
		return follow_fragment(p, real, index);
	if (p->rare)
		forget_kind(p);
	if ((verdict = find_service(p, &service)) != NEXT)
		return unless_error(p, verdict);
	p->tick = tick_now();
	if ((verdict = pick_real(p, &service, real, index)) != NEXT)
		return unless_error(p, verdict);
	if (is_fragment(p))
		drop_ports(p);
	return NEXT;
}

static __always_inline int balance(struct packet *p)
{
	__u64 tunnel;
	struct real *real;
	struct hop *hop;
	__u32 index;
	int verdict;

	if (p->director->config.denying && is_denied(p))
		return DROP(p, denied);
	if ((verdict = parse_network(p)) != NEXT)
		return verdict;
	if ((verdict = find_vip(p)) != NEXT) {
		if (p->rare)
			learn_path(p);
		return verdict;
	}
	if ((verdict = parse_transport(p)) != NEXT)
		return verdict;
	if ((verdict = parse_error(p)) != NEXT)
		return verdict;
	if ((verdict = choose_real(p, &real, &index)) != NEXT)
		return verdict;
	if ((verdict = find_hop(p, real, &hop)) != NEXT)
		return verdict;
	tunnel = read_tunnel(real);
	if ((verdict = check_size(p, hop->mtu, tunnel_length(tunnel))) != NEXT)
		return verdict;
	if ((verdict = encapsulate(p, real, hop, tunnel)) != NEXT)
		return verdict;
	count_forwarded(p, index);
	if (is_fragment(p) && !is_later_fragment(p))
		remember_fragment(p, real->service, index);
	return send(p, real, hop);
}

/* `family` and `rare` are constants of each program, and what they exclude is not in it. A packet is handed over
 * whole, as it came.
 */
static __always_inline int run(struct xdp_md *ctx, int family, bool rare)
{
	struct packet p = {
		.ctx = ctx,
		.director = VALUE(DIRECT_DIRECTOR),
		.cpu = this_cpu(),
		.family = family,
		.rare = rare,
	};
	int action;

	if (!p.cpu)
		return XDP_PASS;
	take_tags(&p);
	action = balance(&p);
	if (p.tags && action != XDP_DROP)
		action = put_tags(&p, action);
	if (!count(&p)) {
		programs.call(ctx, p.fate - COUNTERS);
		p.cpu->counters.pass_no_program++;
	}
	return action;
}

int xdplb(struct xdp_md *ctx)
{
	return run(ctx, AF_INET, false);
}

int xdplb_rare(struct xdp_md *ctx)
{
	return run(ctx, AF_INET, true);
}

int xdplb_ipv6(struct xdp_md *ctx)
{
	return run(ctx, AF_INET6, false);
}

int xdplb_ipv6_rare(struct xdp_md *ctx)
{
	return run(ctx, AF_INET6, true);
}
