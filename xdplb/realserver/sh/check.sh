# SPDX-License-Identifier: MIT
# ---- check: one function for each fact ------------------------------------------------------------

fact() { # name wanted found ok mend; found may be other people's text, with any characters
	printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$(printable "$3")" "$4" "$([ "$4" = 1 ] || printf '%s' "$5")"
	if [ "$4" = 0 ]; then wrong=1; fi
}

is_one_of() { # word words
	case " $2 " in *" $1 "*) echo 1 ;; *) echo 0 ;; esac
}

check_tunnel() { # dev
	found=$(link_state "$1")
	fact "$1" up "$found" "$(is_one_of "$found" up)" "modprobe $(module_of "$1"); ip link set $1 up"
}

# What ip6tnl0 unwraps: any, or by default ip6ip6.
tunnel_mode() {
	case $(ip -6 tunnel show ip6tnl0 2>/dev/null) in
	*any/ipv6*) echo any ;;
	*ipv6/ipv6*) echo ip6ip6 ;;
	*ip/ipv6*) echo ipip6 ;;
	*) echo unknown ;;
	esac
}

check_mode() {
	found=$(tunnel_mode)
	fact "mode ip6tnl0" any "$found" "$(is_one_of "$found" any)" "ip -6 tunnel change ip6tnl0 mode any"
}

check_program() { # dev
	found=$(ip -d link show dev "$1" | grep -o 'prog/xdp id [0-9]*' || echo none)
	fact "program $1" "an XDP program" "$found" "$([ "$found" = none ] && echo 0 || echo 1)" \
		"$(setup_command)"
}

# The VIP must be on at least one interface that is up, and on none that answers ARP for it. Its length
# must not make neighbours local.
check_vip() { # vip home
	found=$(vip_places "$1" | sed 's/ / on /' | paste -sd, -)
	length=$(length_of "$1")
	mend='' good=''
	for place in $(vip_places "$1" | tr ' ' '@'); do
		dev=${place#*@}
		if [ "${place%@*}" != "$1/$length" ] || arp_devices | grep -qxF -- "$dev"; then
			mend="$mend; ip addr del ${place%@*} dev $dev"
		else
			good=1
			if [ "$(link_state "$dev")" = down ]; then
				found="$found (down)"
				mend="$mend; ip link set $dev up"
			fi
		fi
	done
	if [ -z "$good" ]; then
		mend="$mend; ip addr add $1/$length dev $2"
		if [ "$length" = 128 ]; then mend="$mend nodad preferred_lft 0"; fi
	fi
	fact "vip $1" "/$length on $2" "${found:-nowhere}" "$([ -n "$mend" ] && echo 0 || echo 1)" "${mend#; }"
}

setting() { # dev key value: the command that sets it; a device's name may have dots, so use slashes then
	case $1 in
	*.*) echo "sysctl -w net/ipv4/conf/$1/$2=$3" ;;
	*) echo "sysctl -w net.ipv4.conf.$1.$2=$3" ;;
	esac
}

check_arp() { # key "good values" value
	summary=
	for dev in $(arp_devices); do
		found=$(effective_value "$dev" "$1")
		if [ "$(is_one_of "$found" "$2")" = 0 ]; then
			culprit=all # too small, or the larger one
			if [ "$found" -gt "$3" ] && [ "$(own_value all "$1")" != "$found" ]; then culprit=$dev; fi
			fact "$1" "$3" "$found on $dev" 0 "$(setting "$culprit" "$1" "$3")"
			return
		fi
		summary=$found
	done
	fact "$1" "$3" "${summary:-no interface answers ARP}" 1 ""
}

check_rp_filter() { # dev
	if [ "$(link_state "$1")" = absent ]; then return; fi # another fact says so
	found=$(effective_value "$1" rp_filter)
	ok=$(is_one_of "$found" "0 2")
	case $found in
	1) found="1 (strict: all $(own_value all rp_filter), $1 $(own_value "$1" rp_filter))" ;;
	2) found="2 (loose)" ;;
	esac
	fact "rp_filter $1" "0 or 2" "$found" "$ok" "$(setting "$1" rp_filter 2)"
}

check_mss() { # vip
	found=$(nft list table inet "$TABLE" 2>/dev/null |
		awk -v vip="$1" '$1 ~ /^ip6?$/ && $3 == vip { print $NF; exit }')
	if [ -z "$found" ]; then # the way by hand
		found=$(ip "-$(family_of "$1")" route show default | words_after advmss | head -n 1)
	fi
	case $(family_of "$1") in 4) plain=$((mtu - 40)) ;; *) plain=$((mtu - 60)) ;; esac
	found=${found:-$plain}
	mss=$(mss_for "$1")
	if [ "$found" -le "$mss" ]; then ok=1; else ok=0; fi
	fact "mss $1" "at most $mss" "$found" "$ok" "$(setup_command)"
}

# The first rule of another table that drops tunnelled packets. A chain with policy drop counts if its
# table has no rule that may accept them. This is a best effort: rules can be complex.
tunnel_blocker() { # "names of the protocol, separated by |"
	{
		nft -n list ruleset 2>/dev/null || :
		if command -v iptables-legacy-save >/dev/null; then
			echo 'table ip iptables-legacy {'
			iptables-legacy-save -t filter 2>/dev/null | sed -n '
				s/^:INPUT DROP.*/\tchain INPUT {\n\t\ttype filter hook input policy drop;/p
				s/^-A INPUT.* -p \(4\|ipencap\|ipip\|ipv4\) .*-j ACCEPT.*/\t\tip protocol 4 accept/p
				s/^-A INPUT.* -p \(4\|ipencap\|ipip\|ipv4\) .*-j \(DROP\|REJECT\).*/\t\tip protocol 4 drop/p
				s/^-A INPUT.* -p \(41\|ipv6\) .*-j ACCEPT.*/\t\tip protocol 41 accept/p
				s/^-A INPUT.* -p \(41\|ipv6\) .*-j \(DROP\|REJECT\).*/\t\tip protocol 41 drop/p'
		fi
	} | awk -v own="table inet $TABLE {" -v names="$1" '
		BEGIN {
			names = "(" names ")"
			rule = "(ip protocol|ip6 nexthdr|meta l4proto) (" names " |\\{ ?([^}]*, )?" names "(,[^}]*)? ?\\})"
		}
		function conclude() { if (policy != "" && !accepted && blocker == "") blocker = policy }
		/^table / { conclude(); skip = ($0 == own); table = $2 " " $3; policy = ""; accepted = 0 }
		skip { next }
		/^\tchain / { chain = $2; other = 0 }
		/^\t\ttype .* hook / {
			other = !/hook (input|prerouting|ingress)/
			if (!other && /policy drop/) policy = table " " chain ", policy drop"
			next
		}
		other { next }
		$0 ~ rule {
			if (/ accept/) accepted = 1
			if (/ (drop|reject)/ && !accepted && blocker == "") {
				sub(/^\t+/, ""); blocker = table " " chain ": " $0
			}
			next
		}
		/ accept|^\t\taccept/ && !/dport|sport|l4proto|protocol|ip6|ct state|ct status|icmp|iif(name)? "?lo|arp/ { accepted = 1 }
		END { conclude(); print blocker }'
}

check_firewall() { # protocol
	if [ "$decap" = xdp ]; then
		fact "protocol $1" accepted "unwrapped before the firewall" 1 ""
		return
	fi
	case $1 in 4) found=$(tunnel_blocker "4|ipencap|ipip|ipv4") ;; *) found=$(tunnel_blocker "41|ipv6") ;; esac
	match="meta l4proto $1"
	if protocols_in 4 | grep -qx "$1"; then match="ip protocol $1"; fi
	if [ "$match" = "meta l4proto $1" ]; then
		senders=$(v6_of "$directors" | paste -sd, -)
		from=${senders:+ ip6 saddr { $senders \}}
	else
		senders=$(v4_of "$directors" | paste -sd, -)
		from=${senders:+ ip saddr { $senders \}}
	fi
	case $found in # the mend's rule goes before all rules of that chain
	"ip iptables-legacy "*) mend="iptables-legacy -I INPUT -p $1${senders:+ -s $senders} -j ACCEPT" ;;
	*) mend="nft insert rule ${found%%[:,]*} $match$from accept" ;;
	esac
	fact "protocol $1" accepted "${found:-accepted}" "$([ -z "$found" ] && echo 1 || echo 0)" "$mend"
}

# Where tunnelled packets come from, and by what: without it the rest is said of what is left.
check_ways() {
	for director in $directors; do
		if ! route_to "$director" >/dev/null; then
			fact "route $director" "a route" none 0 "ip route add $director via GATEWAY, or set up without it"
		fi
	done
	for dev in $lost_devs; do
		fact "interface $dev" there absent 0 "bring it back, or set up without it"
	done
	if [ -z "$uplinks$directors$devs" ]; then
		fact "way in" "an interface" "no route tells it" 0 "$(setup_command) --dev INTERFACE"
	fi
}

check() {
	require_tools "reads the firewall's rules, and what setup wrote down"
	if state_is_stale; then STATE=/dev/null; fi
	settle
	[ -n "$vips" ] || usage "check needs a --vip: nothing is set up here"
	if [ -z "$decap" ] || [ "$decap" = auto ]; then
		decap=ipip
		for dev in $(tunnels); do
			if [ "$(link_state "$dev")" = absent ] && ! modprobe -nq "$(module_of "$dev")" 2>/dev/null; then decap=xdp; fi
		done
	fi
	wrong=0
	check_ways
	v4_vips=$(v4_of "$vips")
	if [ "$decap" = ipip ]; then
		for dev in $(tunnels); do check_tunnel "$dev"; done
		for dev in $(tunnels_of 4); do
			check_rp_filter "$dev"
			if [ "$dev" = ip6tnl0 ]; then check_mode; fi
		done
	else
		for dev in $uplinks; do
			check_program "$dev"
			if [ -n "$v4_vips" ]; then check_rp_filter "$dev"; fi
		done
	fi
	for vip in $vips; do
		check_vip "$vip" "$(home_of "$vip")"
		check_mss "$vip"
	done
	if [ -n "$v4_vips" ]; then
		check_arp arp_ignore "1 2 8" 1
		check_arp arp_announce 2 2
	fi
	for protocol in $({ protocols_in 4; protocols_in 6; } | sort -nu); do check_firewall "$protocol"; done
	report
	return "$wrong"
}

# ---- the command line -----------------------------------------------------------------------------

usage() {
	die "$(printable "$1")" "usage: setup|check|teardown --vip ADDR [--director ADDR[/NN]] [--dev IFNAME] [--decap ipip|xdp|auto] [--persist]"
}

require_address() { # option address
	case $2 in
	'' | *[!0-9a-f.:]*) usage "$1 $2 is not an IP address, written as ip shows it" ;;
	127.* | ::1) usage "$1 $2 never leaves a host" ;;
	0.* | 22[4-9].* | 23?.* | 24?.* | 25?.* | :: | ff??:*) usage "$1 $2 is no host's address" ;;
	fe[89ab]?:*) usage "$1 $2 is of one link only" ;;
	esac
	printf '%s' "$2" | awk -F. '
		/:/ { exit !/^[0-9a-f:]*$/ || /:::/ || (/::/ ? 0 : gsub(/:/, "&") != 7) }
		{ for (i = 1; i <= NF; i++) if ($i !~ /^[0-9][0-9]?[0-9]?$/ || $i > 255) exit 1; exit NF != 4 }' ||
		usage "$1 $2 is not an IP address, written as ip shows it"
}

# As the kernel takes it (dev_valid_name(), net/core/dev.c), but for what is no name in /proc/sys.
require_name() { # option interface
	case $2 in
	'' | -* | . | .. | all | default | lo | *[!!-~]* | */* | *:* | ????????????????*)
		usage "$1 $2 is not an interface that tunnelled packets could come in by"
		;;
	esac
}

require_length() { # option prefix
	case $2 in *[!0-9a-f.:/]*) usage "$1 $2 is not a prefix" ;; esac
	printf '%s' "${2#*/}" | awk -v most="$(case $2 in *:*) echo 128 ;; *) echo 32 ;; esac)" '
		{ exit !(/^[0-9][0-9]?[0-9]?$/ && $0 <= most) } END { if (!NR) exit 1 }' ||
		usage "$1 $2 is not a prefix"
}

verb=${1:-}
if [ $# -gt 0 ]; then shift; fi
vips='' directors='' devs='' decap='' persist='' uplinks=''
while [ $# -gt 0 ]; do
	if [ "$1" != --persist ] && [ $# -lt 2 ]; then usage "$1 needs a value"; fi
	case $1 in
	--vip) require_address "$1" "$2" && vips="$vips $2" ;;
	--director)
		require_address "$1" "${2%/*}"
		case $2 in */*) require_length "$1" "$2" ;; esac
		directors="$directors $2"
		;;
	--dev) require_name "$1" "$2" && devs="$devs $2" ;;
	--decap)
		[ "$(is_one_of "$2" "ipip xdp auto")" = 1 ] || usage "--decap $2 is unknown"
		decap=$2
		;;
	--persist)
		persist=1
		shift
		continue
		;;
	*) usage "$1 is unknown" ;;
	esac
	shift 2
done
case $verb in
setup | check | teardown) "$verb" </dev/null ;; # standard input may be the script itself
*) usage "'$verb' is no verb" ;;
esac
