/* SPDX-License-Identifier: GPL-2.0-only */
/* The director. Python inserts the text of each included header once, and passes sizes as -D.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_ether.h>
#include <uapi/linux/ip.h>
#include <uapi/linux/ipv6.h>
#include <uapi/linux/in.h>
#include <uapi/linux/tcp.h>
#include <uapi/linux/udp.h>
#include <uapi/linux/icmp.h>
#include <uapi/linux/icmpv6.h>

#define AF_INET 2 /* from include/linux/socket.h, which is not uapi */
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

/* Sends the frame to the next hop, with the tags of that interface in place of the tags that it
 * came with. If the program is attached to a VLAN device itself, it sees no tags, and the device
 * adds its own.
 */
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

/* Paths through the parser leave different values here. Unless the verifier forgets these values,
 * it walks the rest of the program once for each combination (on 6.1: 524,000 instructions of
 * xdplb_rare(), and at most 220,000 with this and forget_picked()).
 */
static __always_inline void forget_parsed(struct packet *p)
{
	__u64 any = p->client.low;

	p->tags = forget(p->tags, any);
	p->vip_id = forget(p->vip_id, any);
	p->protocol = forget(p->protocol, any);
	p->error = forget(p->error, any);
	p->fragment = forget(p->fragment, any);
	p->fragment_id = forget(p->fragment_id, any);
	p->length = forget(p->length, any);
	p->tcp_flags = forget(p->tcp_flags, any);
}

/* The same for the paths through find_service() and pick_real(). */
static __always_inline void forget_picked(struct packet *p)
{
	__u64 any = p->client.low;

	p->new_flow = forget(p->new_flow, any);
	p->error = forget(p->error, any);
	p->fragment = forget(p->fragment, any);
	p->protocol = forget(p->protocol, any);
	p->client_port = forget(p->client_port, any);
	p->service_port = forget(p->service_port, any);
}

/* An ICMP error about an unknown flow is not our fault: the kernel gets it. (If the fate is no
 * counter, the packet is being handed over.)
 */
static __always_inline int pass_if_error(struct packet *p, int verdict)
{
	return is_error(p) && p->fate < COUNTERS ? PASS(p, icmp) : verdict;
}

static __always_inline int choose_real(struct packet *p, struct real **real, __u32 *index)
{
	struct service service;
	int verdict;

	if (is_later_fragment(p))
		return follow_fragment(p, real, index);
	if (p->rare)
		forget_parsed(p);
	if ((verdict = find_service(p, &service)) != NEXT)
		return pass_if_error(p, verdict);
	p->tick = tick_now();
	if ((verdict = pick_real(p, &service, real, index)) != NEXT)
		return pass_if_error(p, verdict);
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
	if (p->rare)
		forget_picked(p);
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

/* `family` and `rare` are constants in each program, and the compiler removes what they exclude. If
 * the packet is handed over, the frame is restored before.
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
	pop_tags(&p);
	action = balance(&p);
	if (p.tags && action != XDP_DROP)
		action = push_tags(&p, action);
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

int xdplb_reselect(struct xdp_md *ctx)
{
	struct cpu *cpu = this_cpu();

	if (!cpu)
		return XDP_PASS;
	answer_reselection(&cpu->reselection);
	programs.call(ctx, cpu->reselection.ipv6 ? KIND_IPV6_RARE : KIND_RARE);
	cpu->counters.pass_no_program++;
	return XDP_PASS;
}
