# SPDX-License-Identifier: MIT
"""Commands that are refused, with words of the message: of a director with CONFIGURATION.

WRONG: the command line is wrong, whatever there is. CONFLICTS: it contradicts what there is.
"""

from fivehosts import RS1, RS2

from xdplb.lab import VIP

SERVICE = f"{VIP}:80"
T, U = ("-t", SERVICE), ("-u", f"{VIP}:53")
NOWHERE = "203.0.113.7"
# What is there: what this file adds fills the tables but for one real of a service.
SIZES = {"max_services": 3, "max_reals": 6, "max_denied": 2}
CONFIGURATION = f"""
deny = ["198.51.100.0/24", "203.0.113.9"]

[[service]]
tcp = "{SERVICE}"
scheduler = "mh"
flags = ["mh-port"]
reals = ["{RS1}", "{RS2} weight=3"]

[[service]]
udp = "{VIP}:53"
scheduler = "rr"
reals = ["{RS1}", "{RS2}"]
"""
_SERVICES_2 = {
    "no address": ("VIP '1.2.3' is not an IP address", "service", "add", "-t", "1.2.3:80"),
    "no port": (f"'{VIP}' is not ADDRESS:PORT", "service", "add", "-t", VIP),
    "port out of range": ("port '65536'", "service", "add", "-t", f"{VIP}:65536"),
    "port is no number": ("port 'http'", "service", "add", "-t", f"{VIP}:http"),
    "v4-mapped": ("write it as 1.2.3.4", "service", "add", "-t", "[::ffff:1.2.3.4]:80"),
    "multicast": ("224.0.0.1 is no host's", "service", "add", "-t", "224.0.0.1:80"),
    "no service named": ("no service is named", "service", "add"),
    "two services named": ("-t and -u name two", "service", "add", *T, *U),
    "scheduler": ("unknown scheduler 'lc'", "service", "add", "-t", f"{VIP}:1", "-s", "lc"),
    "flag": ("no flag 'sh-port'", "service", "add", "-t", f"{VIP}:1", "-b", "sh-port"),
    "ops for TCP": ("one_packet is for UDP", "service", "add", "-t", f"{VIP}:1", "-o"),
    "edit of nothing": ("nothing is said to change", "service", "edit", *T),
    "edit to a wrong flag": ("no flag 'mh-port'", "service", "edit", *U, "-b", "mh-port"),
    "limit below 0": (
        "'-1' is not a number from 0",
        "service",
        "add",
        "-t",
        f"{VIP}:1",
        "--limit",
        "-1",
    ),
    "limit too large": (
        "'9999999999' is not a number from 0",
        "service",
        "edit",
        *T,
        "--source-limit",
        "9" * 10,
    ),
    "limit of words": ("'all' is not a number from 0", "service", "edit", *T, "--limit", "all"),
    "IPv4 loopback": ("127.0.0.1 never leaves a host", "service", "add", "-t", "127.0.0.1:80"),
    "this network": ("0.0.0.1 is no host's", "service", "add", "-t", "0.0.0.1:80"),
    "class E": ("240.0.0.1 is no host's", "service", "add", "-t", "240.0.0.1:80"),
    "one service twice": ("-t or --tcp-service is given twice", "service", "del", *T, *T),
    "another spelling": ("is given twice", "zero", *T, "--tcp-service", SERVICE),
    "empty service": ("service '' is not ADDRESS:PORT", "zero", "-t", ""),
    "newline": (r"port '8\n0' is not a port", "zero", "-t", f"{VIP}:8\n0"),
    "empty scheduler": ("unknown scheduler ''", "service", "add", "-t", f"{VIP}:1", "-s", ""),
    "empty flag": ("no flag ''", "service", "edit", *T, "-b", "mh-port,"),
    "flag twice": ("gives a flag twice", "service", "edit", *T, "-b", "mh-port,mh-port"),
    "ops and not": ("--no-ops is given twice", "service", "edit", *U, "-o", "--no-ops"),
    "two views": ("--stats and --rate are different", "list", "--rate", "--stats"),
    "three views": ("--rate and --flows are", "list", "--flows", "--stats", "--rate", "--json"),
}
_REALS_2 = {
    "no address": ("real '1.2.3' is not an IP", "server", "add", *T, "-r", "1.2.3"),
    "the VIP": (f"real {VIP} is the VIP", "server", "add", *T, "-r", VIP),
    "no host": ("255.255.255.255 is no host's", "server", "add", *T, "-r", "255.255.255.255"),
    "another port": (f"{RS1}:81 has another port", "server", "edit", *T, "-r", f"{RS1}:81", "-w1"),
    "no port": ("port ''", "server", "edit", *T, "-r", f"{RS1}:", "-w1"),
    "weight too large": (
        "'2147483648'",
        "server",
        "add",
        *T,
        "-r",
        "192.168.2.9",
        "-w",
        str(2**31),
    ),
    "weight below zero": ("'-1'", "server", "edit", *T, "-r", RS1, "-w", "-1"),
    "weight of words": ("'ten'", "server", "edit", *T, "-r", RS1, "-w", "ten"),
    "weight without end": ("9' will not do", "server", "edit", *T, "-r", RS1, "-w", "9" * 5000),
    "loopback": ("127.0.0.1 never leaves", "server", "add", *T, "-r", "127.0.0.1"),
    "empty": ("real '' is not an IP", "server", "add", *T, "-r", ""),
    "empty weight": ("weight '' will", "server", "add", *T, "-r", "192.168.2.9", "-w", ""),
    "weight in part": ("weight '1.5' will", "server", "add", *T, "-r", "192.168.2.9", "-w", "1.5"),
    "weight in Arabic": ("'٣' will not do", "server", "add", *T, "-r", "192.168.2.9", "-w", "٣"),
    "two weights": ("--weight is given twice", "server", "edit", *T, "-r", RS1, "-w1", "-w2"),
}
_DENY_2 = {
    "no prefix": ("prefix 'lan' is not one", "deny", "add", "lan"),
    "no prefix, of several": ("prefix 'lan' is not one", "deny", "add", "192.0.2.1", "lan"),
    "none": ("Missing argument 'PREFIX", "deny", "add"),
    "too long": ("prefix '192.0.2.0/33' is not one", "deny", "add", "192.0.2.0/33"),
    "host bits": ("bits set beyond its length; write 192.0.2.0/24", "deny", "add", "192.0.2.7/24"),
    "IPv4 in IPv6": ("::/1 takes in IPv4", "deny", "add", "::/1"),
    "twice": ("192.0.2.7/32 is given twice", "deny", "add", "192.0.2.7", "192.0.2.7/32"),
    "del of no prefix": ("prefix '203.0.113' is not one", "deny", "del", "203.0.113"),
    "all IPv4": ("0.0.0.0/0 denies every IPv4 client", "deny", "add", "0.0.0.0/0"),
    "all IPv6": ("::/0 denies every IPv6 client", "deny", "add", "::/0"),
}
_USAGE_2 = {
    "unknown command": ("No such command 'frobnicate'", "frobnicate"),
    "unknown subcommand": ("No such command 'frob'", "server", "frob"),
    "unknown option": ("No such option", "list", "--frob"),
    "unexpected argument": ("extra argument", "flush", "all"),
    "missing option": ("Missing option '-r'", "server", "add", *T),
    "missing argument": ("Missing argument 'INTERFACE", "attach"),
    "wrong mode": ("'fast' is not one of", "attach", "ens33", "--mode", "fast"),
    "timeout of words": ("'soon' is not a number from 0", "set", "soon", "1", "1"),
    "timeout too long": ("'99999' is not a number from 0 to 43200", "set", "99999", "0", "0"),
    "interval": ("-n", "top", "-n", "0"),
    "instance": ("instance '../etc' is not a name", "--instance", "../etc", "list"),
    "no timeouts": ("Missing argument 'TCP'", "set"),
    "timeouts of 0": ("0 0 0 changes no timeout", "set", "0", "0", "0"),
    "timeout in Arabic": ("'٩' is not a number from 0", "set", "٩", "0", "0"),
    "timeout in parts": ("'1_0' is not a number from 0", "set", "1_0", "0", "0"),
    "interval of nan": ("'nan' is not a number from 0.1", "top", "-n", "nan", "--count", "1"),
    "interval of inf": ("'inf' is not a number from 0.1", "top", "-n", "inf", "--count", "1"),
    "newline": (r"No such command 'li\nst'", "li\nst"),
    "no text": (r"argument (\udcff)", "list", b"\xff"),
    "instance with a newline": (r"instance 'a\n' is not a name", "--instance", "a\n", "list"),
    "two instances": ("--instance is given twice", "--instance=a", "--instance=b", "list"),
    "save to no name": ("'' is no file's name", "save", ""),
    "apply of no name": ("'' is no file's name", "apply", ""),
}
_ATTACH_2 = {
    "VIP is no address": ("VIP '1.2.3' is not", "attach", "ens33", "--vip", "1.2.3"),
    "VIP is loopback": ("::1 never leaves a host", "attach", "ens33", "--vip", "::1"),
    "VIP is no host's": ("0.0.0.0 is no host's", "attach", "ens33", "--vip", "0.0.0.0"),
    "unknown size": ("--tune 'depth=3' is not", "attach", "ens33", "--tune", "depth=3"),
    "size of words": ("--tune 'max_reals=many' is", "attach", "ens33", "--tune", "max_reals=many"),
    "size in Thai": ("--tune 'max_reals=๙' is", "attach", "ens33", "--tune", "max_reals=๙"),
    "no power of two": ("flow_buckets 1000", "attach", "ens33", "--tune", "flow_buckets=1000"),
    "no prime of IPVS": ("ring_slots 4000", "attach", "ens33", "--tune", "ring_slots=4000"),
    "too large": ("max_reals 70000 is out", "attach", "ens33", "--tune", "max_reals=70000"),
    "no power of two of sources": ("tallies 3", "attach", "ens33", "--tune", "source_tallies=3"),
    "VIP is nothing": ("VIP '' is not", "attach", "ens33", "--vip", ""),
    "VIP is IPv4 loopback": ("127.0.0.1 never leaves", "attach", "ens33", "--vip", "127.0.0.1"),
    "no size": ("--tune '' is not", "attach", "ens33", "--tune", ""),
    "size twice": ("given twice", "attach", "ens33", "--tune=max_vips=1", "--tune=max_vips=2"),
}
_SERVICES_1 = {
    "twice": (f"tcp/{SERVICE} exists already", "service", "add", *T),
    "edit of none": ("does not exist", "service", "edit", "-t", f"{VIP}:1", "-s", "rr"),
    "del of none": (f"tcp/{VIP}:1 does not exist", "service", "del", "-t", f"{VIP}:1"),
    "zero of none": (f"tcp/{VIP}:1 does not exist", "zero", "-t", f"{VIP}:1"),
    "list of none": (f"tcp/{VIP}:1 does not exist", "list", "-t", f"{VIP}:1"),
    "flows of none": (f"tcp/{VIP}:1 does not exist", "list", "--flows", "-t", f"{VIP}:1"),
    "rate of none": (f"tcp/{VIP}:1 does not exist", "list", "--rate", "-t", f"{VIP}:1"),
    "top of none": (f"tcp/{VIP}:1 does not exist", "top", "-t", f"{VIP}:1"),
}
_REALS_1 = {
    "no route": (f"real {NOWHERE} is in no route", "server", "add", *T, "-r", NOWHERE),
    "no IPv6 route": ("2001:db8:9::9 is in no route", "server", "add", *T, "-r", "2001:db8:9::9"),
    "broadcast": ("192.168.2.255 is no host's", "server", "add", *T, "-r", "192.168.2.255"),
    "twice": (f"real {RS1} is in service", "server", "add", *T, "-r", RS1),
    "service of none": ("does not exist", "server", "add", "-t", f"{VIP}:1", "-r", RS1),
    "edit of none": ("192.168.2.9 is not in", "server", "edit", *T, "-r", "192.168.2.9", "-w1"),
    "drain of none": ("192.168.2.9 is not in", "server", "drain", *T, "-r", "192.168.2.9"),
    "del of none": ("192.168.2.9 is not in", "server", "del", *T, "-r", "192.168.2.9"),
}
_DENY_1 = {
    "there already": ("203.0.113.9/32 is denied already", "deny", "add", "203.0.113.9"),
    "full": ("3 prefixes to deny are more than 2", "deny", "add", "192.0.2.7"),
    "not there": ("203.0.113.0/24 is not denied", "deny", "del", "203.0.113.9", "203.0.113.0/24"),
}
_ATTACH_1 = {
    "unknown interface": ("interface 'nosuch' does not exist", "attach", "nosuch"),
    "unknown among known": ("interface 'nosuch' does not exist", "attach", "ens33", "nosuch"),
    "too few reals": (
        "4 reals are wanted, and the tables hold 2",
        "attach",
        "ens33",
        "--tune",
        "max_reals=3",
    ),
    "too few prefixes": ("2 prefixes to deny", "attach", "ens33", "--tune", "max_denied=1"),
    "too few services": (
        "2 services are wanted, and the tables hold 1",
        "attach",
        "ens33",
        "--tune",
        "max_services=2",
    ),
    "other mode": ("attached in native mode", "attach", "ens33", "--mode", "generic"),
    "detach of none": ("no director is attached to interface 'lo'", "detach", "lo"),
}


def _by_kind(**kinds):
    """One table, each case named by what is asked for too."""
    return {
        f"{kind}: {name}": case for kind, cases in kinds.items() for name, case in cases.items()
    }


WRONG = _by_kind(service=_SERVICES_2, real=_REALS_2, deny=_DENY_2, usage=_USAGE_2, attach=_ATTACH_2)
CONFLICTS = _by_kind(service=_SERVICES_1, real=_REALS_1, deny=_DENY_1, attach=_ATTACH_1)
