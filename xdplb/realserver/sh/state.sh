#!/bin/sh
# SPDX-License-Identifier: MIT
# xdplb-realserver: makes this host a real server behind a tunnel director (xdplb, LVS-TUN), checks
# it, and undoes it. It needs only root, iproute2, nftables and a POSIX shell.
#
#   sh realserver.sh setup    --vip ADDR… [--director ADDR[/NN]…] [--dev IFNAME…] [--decap KIND] [--persist]
#   sh realserver.sh check    --vip ADDR… [--director ADDR[/NN]…] [--dev IFNAME…] [--decap KIND]
#   sh realserver.sh teardown [--vip ADDR…]
#
#   --vip       the virtual address that clients ask for; again for more of them. IPv6 as ip shows it
#   --director  accept tunnelled packets from this address or prefix only; again for more of them
#   --dev       the interface they come in by; without it, the one towards the directors or the world
#   --decap     ipip: the kernel's tunnel devices unwrap (default); xdp: xdplb's program, which the
#               xdplb command attaches afterwards; auto: the devices if the kernel has them
#   --persist   set up again at each boot, by systemd
#
# Output: `#` lines say what is set up; check prints its facts as name, wanted, found, 1 or 0, mend,
# separated by tabs. Exit: 0, 1 a fact is wrong, 2 it could not be done (one line says why).
set -eu
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin # a plain user's PATH over ssh may lack them
export LC_ALL PATH
umask 077 # the state is for root only; files for everybody set their own mode

ETC=${XDPLB_ETC:-/etc}
RUN=${XDPLB_RUN:-/run}
CONF=/proc/sys/net/ipv4/conf
TABLE=xdplb_realserver
STATES=$RUN/xdplb/realserver
# One state file for each network namespace. Inside, the namespace has no better name than its number.
STATE=$STATES/$(readlink /proc/self/ns/net | tr -cd 0-9).state
STORED=$ETC/xdplb/realserver.sh
UNIT=$ETC/systemd/system/xdplb-realserver.service

printable() { # text: in one line
	printf '%s' "$1" | tr -c '[:print:]' '?'
}

die() { # what mend
	printf 'error: %s; %s\n' "$1" "$2" >&2
	exit 2
}

# ---- the state file: the values found before the first change, and what is set up -----------------
#
#   sysctl DEV KEY VALUE   link DEV up|down|absent   vip ADDR DEV added|found
#   director ADDR -        decap ipip|xdp -       dev IFNAME -       persist - -
#   mode ip6tnl0 MODE      netns COOKIE -

recall() { # kind: the lines of this kind, without it
	if [ -f "$STATE" ]; then awk -v kind="$1" '$1 == kind { sub(/^[^ ]+ /, ""); print }' "$STATE"; fi
}

remember() { # "kind key" "value": the first value of a key stays
	if ! awk -v key="$1 " 'index($0, key) == 1 { found = 1 } END { exit !found }' "$STATE"; then
		printf '%s %s\n' "$1" "$2" >>"$STATE"
	fi
}

forget() { # "kind key"
	awk -v key="$1 " 'index($0 " ", key) != 1' "$STATE" >"$STATE.new"
	mv "$STATE.new" "$STATE"
}

table_exists() {
	nft list table inet "$TABLE" >/dev/null 2>&1
}

# A namespace can be deleted, and another one can get its number. Its cookie is never given again, but
# only the xdplb command can read it (SO_NETNS_COOKIE), and passes it on. Without a cookie, believe a
# state only if something in it exists.
state_is_stale() {
	if ! [ -f "$STATE" ]; then return 1; fi
	written=$(recall netns | cut -d' ' -f1)
	if [ -n "$written" ] && [ -n "${XDPLB_NETNS_COOKIE:-}" ]; then
		[ "$written" != "$XDPLB_NETNS_COOKIE" ]
		return
	fi
	if table_exists; then return 1; fi
	for known in $(recall vip | cut -d' ' -f1); do
		if [ -n "$(vip_places "$known")" ]; then return 1; fi
	done
}

in_a_line() { # words, a line each
	printf '%s' "$1" | tr '\n' ' '
}

# The command that sets up this host, as one line for a shell, with all that is known.
setup_command() {
	printf 'xdplb realserver setup'
	for each in $vips; do printf ' --vip %s' "$each"; done
	for each in $directors; do printf ' --director %s' "$each"; done
	for each in $devs; do printf ' --dev %s' "$each"; done
	if [ -n "$decap" ]; then printf ' --decap %s' "$decap"; fi
}

report() {
	printf '#setup\t%s\n' "$(setup_command)"
	printf '#decap\t%s\n' "$decap"
	printf '#vip\t%s\n' "$(in_a_line "$vips")"
	printf '#director\t%s\n' "$(in_a_line "$directors")"
	printf '#dev\t%s\n' "$(in_a_line "$uplinks")"
}

# ---- families of addresses -------------------------------------------------------------------------

v4_of() { # addresses, a line each
	printf '%s\n' "$1" | sed '/:/d; /^$/d'
}

v6_of() { # addresses, a line each
	printf '%s\n' "$1" | sed -n '/:/p'
}

family_of() { # address
	case $1 in *:*) echo 6 ;; *) echo 4 ;; esac
}

length_of() { # address: the length of the prefix with only this address
	case $1 in *:*) echo 128 ;; *) echo 32 ;; esac
}

# The outer families of packets for a VIP of this family: the directors', else its own.
outer_families() { # 4|6
	if [ -z "$directors" ]; then
		echo "$1"
	else
		v4_of "$directors" | sed 's/.*/4/; q'
		v6_of "$directors" | sed 's/.*/6/; q'
	fi
}

# The kernel's devices that unwrap them, a line each.
tunnels_of() { # 4|6
	if [ "$1" = 4 ]; then
		if [ -n "$(v4_of "$vips")" ]; then outer_families 4 | sed 's/4/tunl0/; s/6/ip6tnl0/'; fi
	else
		if [ -n "$(v6_of "$vips")" ]; then outer_families 6 | sed 's/4/sit0/; s/6/ip6tnl0/'; fi
	fi
}

tunnels() {
	{
		tunnels_of 4
		tunnels_of 6
	} | awk '!seen[$0]++'
}

module_of() { # tunnel device
	case $1 in tunl0) echo ipip ;; sit0) echo sit ;; *) echo ip6_tunnel ;; esac
}

# The protocols of tunnelled packets with an outer header of this family.
protocols_in() { # 4|6
	if [ -n "$(v4_of "$vips")" ] && outer_families 4 | grep -q "$1"; then echo 4; fi
	if [ -n "$(v6_of "$vips")" ] && outer_families 6 | grep -q "$1"; then echo 41; fi
}

# The largest segment that the client may send: two IP headers and TCP's have to fit, too.
mss_for() { # vip
	case $(family_of "$1") in 4) headers=40 ;; *) headers=60 ;; esac
	if outer_families "$(family_of "$1")" | grep -q 6; then
		echo $((mtu - headers - 40))
	else
		echo $((mtu - headers - 20))
	fi
}

# The interface of a VIP. An IPv6 VIP is on lo, with every tunnel: no other interface answers neighbour
# discovery for an address on lo (ndisc_recv_ns() in net/ipv6/ndisc.c), and there may be two tunnels.
home_of() { # vip
	if [ "$decap" = xdp ] || [ "$(family_of "$1")" = 6 ]; then echo lo; else tunnels_of 4 | head -n 1; fi
}

# ---- looking --------------------------------------------------------------------------------------

# Asking ip for a missing tunl0 would load ipip, by its alias netdev-tunl0.
link_state() { # dev
	if ! [ -d "$CONF/$1" ]; then
		echo absent
	elif [ -n "$(ip link show dev "$1" up)" ]; then
		echo up
	else
		echo down
	fi
}

words_after() { # word: the words that follow it in the input; "lock" makes a route's metric fixed
	awk -v word="$1" '{ for (i = 1; i < NF; i++) if ($i == word) print $(i + 1 + ($(i + 1) == "lock")) }'
}

# The interfaces that have a VIP: "ADDR/LENGTH DEV", a line each.
vip_places() {
	ip -o address show | awk -v vip="$1" '{ split($4, a, "/") } a[1] == vip { print $4, $2 }'
}

# Interfaces that answer ARP and neighbour discovery: not lo, point-to-point interfaces or dummies.
arp_devices() {
	ip -o link show | awk -F': ' '!/LOOPBACK|NOARP/ { sub(/@.*/, "", $2); print $2 }'
}

route_to() { # director, or prefix of them
	ip route get "${1%/*}" 2>/dev/null
}

# The interfaces that tunnelled packets come in by.
uplinks() {
	if [ -n "$devs" ]; then
		printf '%s\n' "$devs"
	elif [ -n "$directors" ]; then
		for director in $directors; do route_to "$director" || :; done | words_after dev
	else
		for family in $(for vip in $vips; do family_of "$vip"; done | sort -u); do
			ip "-$family" route show default
		done | words_after dev
	fi | grep -vx lo | sort -u
}

# The smallest MTU that the kernel knows of the way to the directors.
path_mtu() {
	{
		for dev in $uplinks; do ip -o link show dev "$dev"; done
		for director in $directors; do route_to "$director" || :; done
	} | words_after mtu | sort -n | head -n 1
}

own_value() { # dev key
	cat "$CONF/$1/$2"
}

# For rp_filter, arp_ignore and arp_announce the kernel takes the larger one (IN_DEV_MAXCONF).
effective_value() { # dev key
	printf '%s\n' "$(own_value all "$2")" "$(own_value "$1" "$2")" | sort -n | tail -n 1
}
