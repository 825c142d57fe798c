# SPDX-License-Identifier: MIT
# ---- check: one function for each fact ------------------------------------------------------------

fact() { # name wanted found ok mend
	printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$([ "$4" = 1 ] || printf '%s' "$5")"
	if [ "$4" = 0 ]; then wrong=1; fi
}

is_one_of() { # word words
	case " $2 " in *" $1 "*) echo 1 ;; *) echo 0 ;; esac
}

check_tunl0() {
	found=$(link_state tunl0)
	fact tunl0 up "$found" "$(is_one_of "$found" up)" "modprobe ipip; ip link set tunl0 up"
}

check_program() { # dev
	found=$(ip -d link show dev "$1" | grep -o 'prog/xdp id [0-9]*' || echo none)
	fact "program $1" "an XDP program" "$found" "$([ "$found" = none ] && echo 0 || echo 1)" \
		"xdplb realserver setup --decap xdp --dev $1"
}

check_vip() { # vip home
	found=$(vip_places "$1" | sed 's/ / on /' | paste -sd, -)
	ok=0
	mend="ip addr add $1/32 dev $2"
	for dev in $(vip_places "$1" | cut -d' ' -f2); do
		ok=1
		if arp_devices | grep -qxF -- "$dev"; then
			ok=0
			mend="ip addr del $1 dev $dev; ip addr add $1/32 dev $2"
			break
		elif [ "$(link_state "$dev")" = down ]; then
			ok=0
			found="$found (down)"
			mend="ip link set $dev up"
			break
		fi
	done
	longer=$(vip_places "$1" | grep -v '/32 ' | head -n 1)
	if [ "$ok" = 1 ] && [ -n "$longer" ]; then
		ok=0
		mend="ip addr del ${longer% *} dev ${longer#* }; ip addr add $1/32 dev $2"
	fi
	fact "vip $1" "/32 on $2" "${found:-nowhere}" "$ok" "$mend"
}

check_arp() { # key "good values" value
	summary=
	for dev in $(arp_devices); do
		found=$(effective_value "$dev" "$1")
		if [ "$(is_one_of "$found" "$2")" = 0 ]; then
			if [ "$found" -gt "$3" ]; then culprit=$dev; else culprit=all; fi
			fact "$1" "$3" "$found on $dev" 0 "sysctl -w net.ipv4.conf.$culprit.$1=$3"
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
	fact "rp_filter $1" "0 or 2" "$found" "$ok" "sysctl -w net.ipv4.conf.$1.rp_filter=2"
}

check_mss() { # vip
	found=$(nft list table inet "$TABLE" 2>/dev/null |
		awk -v vip="$1" '$1 == "ip" && $3 == vip { print $NF; exit }')
	if [ -z "$found" ]; then # the way by hand
		found=$(ip -4 route show default | words_after advmss | head -n 1)
	fi
	found=${found:-$((mtu - 40))}
	if [ "$found" -le "$mss" ]; then ok=1; else ok=0; fi
	fact "mss $1" "at most $mss" "$found" "$ok" \
		"xdplb realserver setup, or: ip route change default … advmss $mss"
}

# The first rule of anybody else's that is seen to drop tunnelled packets. A chain that drops by
# policy counts if its table accepts nothing that could mean them. Best effort: rules can say much.
tunnel_blocker() {
	{
		nft -n list ruleset 2>/dev/null || :
		if command -v iptables-legacy-save >/dev/null; then
			echo 'table ip iptables-legacy {'
			iptables-legacy-save -t filter 2>/dev/null | sed -n '
				s/^:INPUT DROP.*/\tchain INPUT {\n\t\ttype filter hook input policy drop;/p
				s/^-A INPUT.* -p \(4\|ipencap\|ipip\|ipv4\) .*-j ACCEPT.*/\t\tip protocol 4 accept/p
				s/^-A INPUT.* -p \(4\|ipencap\|ipip\|ipv4\) .*-j \(DROP\|REJECT\).*/\t\tip protocol 4 drop/p'
		fi
	} | awk -v own="table inet $TABLE {" '
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
		/(ip protocol|meta l4proto) ((4|ipencap|ipip|ipv4) |\{ ?([^}]*, )?(4|ipencap|ipip|ipv4)(,[^}]*)? ?\})/ {
			if (/ accept/) accepted = 1
			if (/ (drop|reject)/ && !accepted && blocker == "") {
				sub(/^\t+/, ""); blocker = table " " chain ": " $0
			}
			next
		}
		/ accept|^\t\taccept/ && !/dport|sport|l4proto|protocol|ip6|ct state|ct status|icmp|iif(name)? "?lo|arp/ { accepted = 1 }
		END { conclude(); print blocker }'
}

check_firewall() {
	if [ "$decap" = xdp ]; then
		fact "protocol 4" accepted "unwrapped before the firewall" 1 ""
		return
	fi
	found=$(tunnel_blocker)
	from=$(printf '%s' "$directors" | paste -sd, -)
	fact "protocol 4" accepted "${found:-accepted}" "$([ -z "$found" ] && echo 1 || echo 0)" \
		"before that rule: nft insert rule ${found%%[:,]*} ip protocol 4${from:+ ip saddr { $from \}} accept"
}

check() {
	require_tools
	if state_is_stale; then STATE=/dev/null; fi
	settle
	[ -n "$vips" ] || usage "check needs a --vip: nothing is set up here"
	if [ -z "$decap" ] || [ "$decap" = auto ]; then
		decap=ipip
		if [ "$(link_state tunl0)" = absent ] && ! modprobe -nq ipip 2>/dev/null; then decap=xdp; fi
	fi
	wrong=0
	if [ "$decap" = ipip ]; then
		home=tunl0
		check_tunl0
		check_rp_filter tunl0
	else
		home=lo
		for dev in $uplinks; do
			check_program "$dev"
			check_rp_filter "$dev"
		done
	fi
	for vip in $vips; do
		check_vip "$vip" "$home"
		check_mss "$vip"
	done
	check_arp arp_ignore "1 2 8" 1
	check_arp arp_announce 2 2
	check_firewall
	report
	return "$wrong"
}

# ---- what is asked for ----------------------------------------------------------------------------

usage() {
	die "$1" "usage: setup|check|teardown --vip ADDR [--director ADDR[/NN]] [--dev IFNAME] [--decap ipip|xdp|auto] [--persist]"
}

require_v4() { # option address
	printf '%s' "$2" | awk -F. '
		{ for (i = 1; i <= NF; i++) if ($i !~ /^[0-9][0-9]?[0-9]?$/ || $i > 255) exit 1; exit NF != 4 }' ||
		usage "$1 $2 is not an IPv4 address"
}

require_length() { # option prefix
	case ${2#*/} in
	[0-9] | [12][0-9] | 3[0-2]) ;;
	*) usage "$1 $2 is not an IPv4 prefix" ;;
	esac
}

verb=${1:-}
if [ $# -gt 0 ]; then shift; fi
vips='' directors='' devs='' decap='' persist='' uplinks=''
while [ $# -gt 0 ]; do
	if [ "$1" != --persist ] && [ $# -lt 2 ]; then usage "$1 needs a value"; fi
	case $1 in
	--vip) require_v4 "$1" "$2" && vips="$vips $2" ;;
	--director)
		require_v4 "$1" "${2%/*}"
		case $2 in */*) require_length "$1" "$2" ;; esac
		directors="$directors $2"
		;;
	--dev) devs="$devs $2" ;;
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
setup | check | teardown) "$verb" </dev/null ;; # the script itself may come by standard input
*) usage "'$verb' is no verb" ;;
esac
