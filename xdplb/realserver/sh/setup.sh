# SPDX-License-Identifier: MIT
# ---- changing -------------------------------------------------------------------------------------

set_value() { # dev key value
	if [ "$(own_value "$1" "$2")" = "$3" ]; then return 0; fi
	remember "sysctl $1 $2" "$(own_value "$1" "$2")"
	echo "$3" >"$CONF/$1/$2" || die "cannot write $CONF/$1/$2" "run it where /proc/sys is writable"
}

# All reals have the VIP: none of them may answer ARP for it, or send ARP requests from it. (Neighbour
# discovery needs no setting: see home_of.)
hide_vips() {
	for dev in all $(arp_devices); do
		case $(own_value "$dev" arp_ignore) in
		0) if [ "$dev" = all ]; then set_value all arp_ignore 1; fi ;;
		1 | 2 | 8) ;; # good too: leave it
		*) set_value "$dev" arp_ignore 1 ;;
		esac
	done
	set_value all arp_announce 2
}

# The route to the client uses another interface than the tunnel, so the reverse path filter has to
# accept it. The larger value of `all` and of the interface counts, so `all` has to be 0 too. Before
# that, the other interfaces, and `default` for later ones, get the value that counted for them.
open_rp_filter() {
	all=$(own_value all rp_filter)
	if [ "$all" != 0 ]; then
		remember "sysctl all rp_filter" "$all"
		for path in "$CONF"/*; do
			dev=${path##*/}
			if [ "$dev" != all ] && [ "$dev" != "$1" ] && [ "$(own_value "$dev" rp_filter)" -lt "$all" ]; then
				set_value "$dev" rp_filter "$all"
			fi
		done
		set_value all rp_filter 0
	fi
	set_value "$1" rp_filter 0
}

# If XDP unwraps, the client's packet comes in by the interface itself. Strict filtering (1) would
# refuse clients that are answered by another interface; loose filtering (2) does not.
loosen_rp_filter() {
	if [ "$(effective_value "$1" rp_filter)" = 1 ]; then set_value "$1" rp_filter 2; fi
}

# Our own table, on which no other rules depend. It is replaced in one transaction:
#
# tunnel  Anybody can wrap a packet. If directors are named, tunnelled packets of others are dropped.
# mss     The client's packets become 20 bytes longer on their way here (40 in IPv6). So the real asks
#         for segments that leave this room. (If ICMP is filtered, the client learns it no other way.)
#         The rule is for SYN-ACKs from the VIPs only: a route's advmss would slow down everything else
#         on this host. The kernel never raises an MSS here (net/netfilter/nft_exthdr.c).
write_table() {
	{
		printf 'table inet %s\ndelete table inet %s\ntable inet %s {\n' "$TABLE" "$TABLE" "$TABLE"
		if [ -n "$directors" ]; then
			echo 'chain tunnel { type filter hook input priority -10;'
			for protocol in $(protocols_in 4); do
				echo "ip protocol $protocol ip saddr != { $(v4_of "$directors" | paste -sd, -) } counter drop"
			done
			for protocol in $(protocols_in 6); do
				echo "meta l4proto $protocol ip6 saddr != { $(v6_of "$directors" | paste -sd, -) } counter drop"
			done
			echo '}'
		fi
		echo 'chain mss { type filter hook output priority -150;'
		for vip in $vips; do
			case $(family_of "$vip") in 4) ip=ip ;; *) ip=ip6 ;; esac
			echo "$ip saddr $vip tcp flags & (syn | rst) == syn tcp option maxseg size set $(mss_for "$vip")"
		done
		printf '}\n}\n'
	} | nft -f - || die "nft does not take our table" "see: nft list ruleset, and uname -r"
}


is_script() {
	grep -q '^# xdplb-realserver' "$1" 2>/dev/null
}

# XDP unwrapping needs more than this script. Then the caller gives the command to run at boot.
boot_command() {
	if [ "$decap" = xdp ]; then
		printf '%s' "$XDPLB_BOOT_COMMAND"
	else
		printf '/bin/sh %s' "$STORED"
	fi
	printf ' setup --persist --decap %s' "$decap"
	recall vip | while read -r vip _; do printf ' --vip %s' "$vip"; done
	recall director | while read -r director _; do printf ' --director %s' "$director"; done
	recall dev | while read -r dev _; do printf ' --dev %s' "$dev"; done
}

write_unit() (
	umask 022
	mkdir -p "${UNIT%/*}" "${STORED%/*}"
	if [ "$0" != "$STORED" ] && is_script "$0"; then
		cat "$0" >"$STORED.new"
		mv "$STORED.new" "$STORED"
	fi
	cat >"$UNIT.new" <<-END
		# Written by xdplb realserver setup --persist; its teardown takes it away.
		[Unit]
		Description=Real server behind a tunnel director
		Wants=network-online.target
		After=network-online.target nftables.service

		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=$(boot_command)

		[Install]
		WantedBy=multi-user.target
	END
	if cmp -s "$UNIT.new" "$UNIT"; then
		rm "$UNIT.new" # unchanged, as at boot: systemd need not reload
	else
		mv "$UNIT.new" "$UNIT"
		systemctl daemon-reload
		systemctl enable --quiet "${UNIT##*/}"
	fi
)

remove_unit() {
	systemctl disable --quiet "${UNIT##*/}" || :
	rm -f "$UNIT" "$STORED"
	systemctl daemon-reload || :
}

# ---- the verbs ------------------------------------------------------------------------------------

require_tools() { # what of it is root's
	[ "$(id -u)" = 0 ] || die "$verb $1" "run it with sudo, or as root@HOST"
	command -v ip >/dev/null || die "there is no ip command" "run: apt-get install iproute2"
	command -v nft >/dev/null || die "there is no nft command" "run: apt-get install nftables"
}

require_persist() {
	is_script "$0" || die "--persist needs this script as a file" "save it, and run it from there"
	if ! command -v systemctl >/dev/null || ! [ -d "$RUN/systemd/system" ]; then
		die "--persist needs systemd, which does not run here" \
			"without --persist, have your boot scripts run: $(setup_command)"
	fi
	if [ "$decap" = xdp ] && [ -z "${XDPLB_BOOT_COMMAND:-}" ]; then
		die "--persist with --decap xdp is more than this script can do" "use: $(setup_command) --persist"
	fi
}

# One command at a time: the second one sees a complete state. The directory is for root only, for any
# umask, and also if an older version made it.
lock() {
	if ! (umask 022 && mkdir -p "${STATES%/*}") || ! mkdir -p "$STATES" || ! chmod 700 "$STATES"; then
		die "cannot make $STATES" "make $RUN writable"
	fi
	if command -v flock >/dev/null; then
		exec 9>"$STATES/lock"
		flock 9
	fi
}

merged() { # words kind: the words, and those of this kind that are set up, a line each
	# shellcheck disable=SC2086 # words are meant
	{ printf '%s\n' $1; recall "$2" | cut -d' ' -f1; } | sed '/^$/d' | sort -u
}

# Join the arguments with what was set up before.
settle() {
	vips=$(merged "$vips" vip)
	directors=$(merged "$directors" director)
	devs=$(merged "$devs" dev)
	case $decap in
	"" | auto) if [ -n "$(recall decap)" ]; then decap=$(recall decap | cut -d' ' -f1); fi ;;
	esac
	lost_devs='' # named, but they do not exist
	for dev in $devs; do
		if [ "$(link_state "$dev")" = absent ]; then lost_devs="$lost_devs $dev"; fi
	done
	uplinks=$(uplinks || :)
	for dev in $lost_devs; do uplinks=$(printf '%s\n' "$uplinks" | grep -vxF -- "$dev" || :); done
	mtu=$(path_mtu)
	mtu=${mtu:-1500} # no route to the directors is known: Ethernet's MTU
}

# What setup needs. check reports it as facts.
require_ways() {
	for director in $directors; do
		route_to "$director" >/dev/null ||
			die "there is no route to the director $director" "see: ip route get ${director%/*}"
		if is_vip "$director"; then
			die "the director $director is a VIP, too" "name the director's own address, from which it sends"
		fi
	done
	for dev in $lost_devs; do die "there is no interface $dev" "see: ip link"; done
	[ -n "$uplinks" ] || die "no default route tells by which interface tunnelled packets come" \
		"name the --director, or the --dev"
}

is_vip() { # address
	printf '%s\n' "$vips" | grep -qxF -- "$1"
}

# A loaded module makes its device in each namespace, unless fb_tunnels_only_for_init_net forbids it.
make_tunnel() { # dev
	if [ "$(link_state "$1")" = absent ]; then
		modprobe -q "$(module_of "$1")" 2>/dev/null || :
		case $1 in
		tunl0) ip link add tunl0 type ipip local any remote any ;;
		sit0) ip link add sit0 type sit local any remote any ;;
		ip6tnl0) ip link add ip6tnl0 type ip6tnl local :: remote :: mode any ;;
		esac 2>/dev/null || :
	fi
	[ "$(link_state "$1")" != absent ]
}

make_tunnels() {
	for dev in $(tunnels); do
		if ! make_tunnel "$dev"; then
			missing=$dev
			return 1
		fi
	done
}

# By default, ip6tnl0 takes IPv6 only.
open_ip6tnl0() {
	if [ "$(tunnel_mode)" != any ]; then
		remember "mode ip6tnl0" "$(tunnel_mode)"
		ip -6 tunnel change ip6tnl0 mode any || die "ip6tnl0 does not take IPv4" "see: ip -6 tunnel show"
	fi
}

# Many hosts have an IPv6 VIP, on purpose (nodad). It is deprecated, so that the host does not send from it.
add_vip() { # vip home
	case $1 in
	*:*) ip address add "$1/128" dev "$2" nodad preferred_lft 0 ;;
	*) ip address add "$1/32" dev "$2" ;;
	esac
}

setup() {
	[ -n "$vips" ] || usage "setup needs a --vip"
	require_tools "changes this host's network settings"
	if [ -n "$persist" ]; then require_persist; fi
	lock
	if state_is_stale; then rm -f "$STATE"; fi
	settle
	require_ways
	for vip in $vips; do
		for dev in $(vip_places "$vip" | cut -d' ' -f2); do
			if arp_devices | grep -qxF -- "$dev"; then
				die "the VIP $vip is on $dev, which answers ARP for it" "take it away first: ip addr del $vip dev $dev"
			fi
		done
	done

	before=$(for dev in $(tunnels); do echo "$dev $(link_state "$dev")"; done)
	if [ "$decap" != xdp ]; then
		if make_tunnels; then
			decap=ipip
		elif [ "$decap" = auto ]; then
			decap=xdp
		else
			module=$(module_of "$missing")
			decap=xdp
			die "this kernel has no $module: there is no $missing, and modprobe $module does not help" \
				"install the kernel's modules, or unwrap by XDP: run $(setup_command) there"
		fi
	fi

	nft add table inet "$TABLE" # from here on the state is not stale
	touch "$STATE"
	if [ "$(recall decap)" != "$decap -" ]; then
		forget decap
		remember decap "$decap -"
	fi
	if [ -n "${XDPLB_NETNS_COOKIE:-}" ]; then remember "netns $XDPLB_NETNS_COOKIE" -; fi
	for dev in $devs; do remember "dev $dev" -; done
	for director in $directors; do remember "director $director" -; done

	if [ -n "$(v4_of "$vips")" ]; then hide_vips; fi # before a VIP is added
	if [ "$decap" = ipip ]; then
		printf '%s\n' "$before" | while read -r dev state; do remember "link $dev" "$state"; done
		for dev in $(tunnels_of 4); do
			open_rp_filter "$dev"
			if [ "$dev" = ip6tnl0 ]; then open_ip6tnl0; fi
		done
		for dev in $(tunnels); do ip link set "$dev" up; done
	elif [ -n "$(v4_of "$vips")" ]; then
		for dev in $uplinks; do loosen_rp_filter "$dev"; done
	fi
	for vip in $vips; do
		home=$(home_of "$vip")
		if [ "$home" = lo ]; then
			remember "link lo" "$(link_state lo)"
			ip link set lo up
		fi
		if [ -z "$(vip_places "$vip")" ]; then
			remember "vip $vip" "$home added"
			add_vip "$vip" "$home" || die "cannot add the VIP $vip to $home" "see: ip addr"
		else
			remember "vip $vip" "- found"
		fi
	done
	write_table
	if [ -n "$persist" ]; then remember "persist -" -; fi
	if [ -n "$(recall persist)" ]; then write_unit; fi
	report
}

teardown() {
	require_tools "changes this host's network settings"
	lock
	if state_is_stale; then rm -f "$STATE"; fi
	decap=
	known=$(recall vip | cut -d' ' -f1)
	gone=${vips:-$known}
	vips=$known
	for vip in $gone; do
		# A killed teardown may have removed all VIPs and not restored the rest.
		if ! is_vip "$vip" && { [ -n "$known" ] || ! [ -f "$STATE" ]; }; then
			if [ -z "$known" ]; then die "the VIP $vip is not set up here" "nothing is"; fi
			die "the VIP $vip is not set up here" "these are: $(in_a_line "$known")"
		fi
	done
	vips=
	for vip in $gone; do
		recall vip | while read -r known home how; do
			if [ "$known" = "$vip" ] && [ "$how" = added ]; then
				ip address del "$vip/$(length_of "$vip")" dev "$home" 2>/dev/null || : # it may be removed already
			fi
		done
		if [ -f "$STATE" ]; then forget "vip $vip"; fi
	done
	if [ -n "$(recall vip)" ]; then
		settle
		write_table
		if [ -n "$(recall persist)" ]; then write_unit; fi
		report
		return
	fi

	# In the order of saving, `all` comes before the values that were raised because of it.
	recall sysctl | while read -r dev key value; do
		if [ -e "$CONF/$dev/$key" ]; then echo "$value" >"$CONF/$dev/$key"; fi
	done
	recall mode | while read -r dev mode; do
		ip -6 tunnel change "$dev" mode "$mode" 2>/dev/null || :
	done
	recall link | while read -r dev before; do
		if [ "$before" != up ]; then ip link set "$dev" down 2>/dev/null || :; fi
		if [ "$before" = absent ]; then ip link del "$dev" 2>/dev/null || :; fi
	done
	if [ -n "$(recall persist)" ]; then remove_unit; fi
	rm -f "$STATE"
	if table_exists; then nft delete table inet "$TABLE"; fi
}
