# SPDX-License-Identifier: MIT
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xdplb.errors import FileError, UsageError
from xdplb.model import checks, difference, toml_file
from xdplb.model.address import parse_address, parse_prefix
from xdplb.model.configuration import Configuration, Timeouts
from xdplb.model.schedulers import SCHEDULERS
from xdplb.model.service import MAX_LIMIT, MAX_WEIGHT, Protocol, Real, Service, ServiceKey
from xdplb.model.tunnel import Tunnel

REFERENCE = """\
deny = [
    "192.0.2.0/24",
    "203.0.113.7/32",
]

[timeouts]
tcp = 900
tcpfin = 120
udp = 300

[[service]]
tcp = "192.168.2.100:80"
scheduler = "mh"
flags = ["mh-fallback", "mh-port"]
reals = [
    "192.168.2.220",
    "192.168.2.210 weight=3",
]

[[service]]
udp = "192.168.2.100:53"
scheduler = "rr"
one_packet = true
limit = 20000
source_limit = 50
source_cidr = "10.9.0.0/24"
reals = [
]
"""

VIP = parse_address("192.168.2.100")
WEB = ServiceKey(Protocol.TCP, VIP, 80)
RS1 = Real(parse_address("192.168.2.220"))
RS2 = Real(parse_address("192.168.2.210"), 3, 3)


def of(*services, timeouts=None, denied=()):
    prefixes = frozenset(map(parse_prefix, denied))
    return Configuration({s.key: s for s in services}, timeouts or Timeouts(), prefixes)


addresses = st.one_of(
    st.integers(first << 24, (last << 24) - 1) for first, last in ((1, 10), (11, 127), (128, 224))
).map(IPv4Address)
prefixes = st.builds(
    lambda address, length: str(IPv4Network((address, length), strict=False)),
    addresses,
    st.integers(1, 32),
)
limits = st.just(0) | st.integers(1, MAX_LIMIT)
weights = st.integers(0, MAX_WEIGHT) | st.integers(0, 2)
tunnels = st.sampled_from(["ipip", "gre", "gre+csum", "gue", "gue:7", "gue:65535+csum"]).map(
    Tunnel.parse
)


SOURCES = parse_prefix("10.9.0.0/24")  # where neither VIPs nor reals are drawn from
source_cidrs = st.sampled_from([None, SOURCES])


@st.composite
def services(draw):
    protocol = draw(st.sampled_from(Protocol))
    vip = draw(addresses)
    scheduler = draw(st.sampled_from(sorted(SCHEDULERS)))
    hosts = draw(st.lists(addresses.filter(lambda a: a != vip), unique=True, max_size=4))
    return Service(
        ServiceKey(protocol, vip, draw(st.integers(0, 65535))),
        scheduler,
        draw(
            st.frozensets(st.sampled_from(sorted(SCHEDULERS[scheduler].flags)))
            if SCHEDULERS[scheduler].flags
            else st.just(frozenset())
        ),
        protocol == Protocol.UDP and draw(st.booleans()),
        tuple(Real(host, w, w, draw(tunnels)) for host in hosts for w in [draw(weights)]),
        draw(limits),
        draw(limits),
        draw(source_cidrs),
    )


seconds = st.integers(1, checks.MAX_TIMEOUT_S)
configurations = st.builds(
    lambda some, timeouts, denied: of(*some, timeouts=timeouts, denied=denied),
    st.lists(services(), max_size=3),
    st.builds(Timeouts, seconds, seconds, seconds),
    st.lists(prefixes, max_size=3),
)


# What a file says.


def test_reference_file():
    """The file of the reference case, and a UDP service without reals."""
    web = Service(WEB, "mh", frozenset({"mh-port", "mh-fallback"}), False, (RS1, RS2))
    key = ServiceKey(Protocol.UDP, VIP, 53)
    dns = Service(key, "rr", frozenset(), True, (), 20000, 50, SOURCES)
    denied = ["203.0.113.7", "192.0.2.0/24"]
    assert of(web, dns, denied=denied) == toml_file.parse(REFERENCE, "lb.toml")


def test_dump_is_what_an_operator_would_write():
    """Dumping what was read gives the same text."""
    assert REFERENCE == toml_file.dump(toml_file.parse(REFERENCE, "lb.toml"))


def test_empty_file_is_an_empty_configuration():
    """Everything may be left out; the default scheduler is mh."""
    assert Configuration() == toml_file.parse("", "lb.toml")
    only = toml_file.parse('[[service]]\ntcp = "192.168.2.100:80"', "lb.toml")
    assert of(Service(WEB, "mh")) == only


def test_services_are_read_only():
    """What was parsed is frozen."""
    assert isinstance(toml_file.parse(REFERENCE, "f").services, MappingProxyType)


@given(configurations)
@settings(max_examples=100, deadline=None)
def test_what_is_dumped_is_parsed(configuration):
    """parse(dump(c)) == c, in the same order."""
    again = toml_file.parse(toml_file.dump(configuration), "lb.toml")
    assert configuration == again
    assert list(configuration.services) == list(again.services)


def test_drained_real_has_last_weight_0():
    """The file does not know what weight a real had before it was drained."""
    assert Real(RS1.address, 0, 0) == toml_file.parse_real("192.168.2.220 weight=0")


SERVICE = '[[service]]\ntcp = "192.168.2.100:80"\n'

MISTAKES = {
    "endless brackets": ("deny = " + "[" * 100_000, "not TOML: too many brackets in one another"),
    "endless number": (f"deny = {'9' * 5000}", "not TOML: Exceeds the limit .*; mend that line"),
    "bad TOML": ("[timeouts]\ntcp = = 3", "lb.toml: not TOML: .*line 2.*; mend"),
    "unknown table": ("[timeout]", "lb.toml: unknown key 'timeout'; choose from timeouts, service"),
    "unknown timeout": ("[timeouts]\nicmp = 3", "timeouts: unknown key 'icmp'; choose from tcp, t"),
    "timeouts no table": ("timeouts = 3", "timeouts: timeouts: 3 will not do"),
    "deny no list": ("deny = '192.0.2.0/24'", "deny: '192.0.2.0/24' will not do; write it as"),
    "deny in a table": ("[timeouts]\ndeny = []", "timeouts: unknown key 'deny'; choose from tcp"),
    "prefix no text": ("deny = [7]", r"deny: \[7\] will not do; write it as"),
    "bad prefix": ("deny = ['lan']", "prefix 'lan' is not one; write it as 192.0.2.0/24"),
    "prefix too long": ("deny = ['192.0.2.0/33']", "prefix '192.0.2.0/33' is not one; write it"),
    "host bits": ("deny = ['192.0.2.7/24']", "'192.0.2.7/24' has bits .* write 192.0.2.0/24$"),
    "prefix twice": ("deny = ['192.0.2.7', '192.0.2.7/32']", "prefix 192.0.2.7/32 is given twice"),
    "mapped prefix": ("deny = ['::ffff:1.2.3.0/120']", "takes in IPv4, by its v4-mapped addresse"),
    "prefix of all": ("deny = ['::/0']", "prefix ::/0 denies every IPv6 client; give a longer one"),
    "prefix of all IPv4": ("deny = ['0.0.0.0/0']", "prefix 0.0.0.0/0 denies every IPv4 client"),
    "half of all": ("deny = ['::/1']", "prefix ::/1 takes in IPv4, .*; write 2000::/3 for"),
    "negative limit": (SERVICE + "limit = -1", "100:80: limit: -1 is out of range; give 1 to"),
    "limit too large": (SERVICE + "limit = 1000000001", "100:80: limit: 1000000001 is out of"),
    "limit no number": (SERVICE + "limit = '9'", "100:80: limit: '9' will not do; write it as"),
    "source limit": (SERVICE + "source_limit = -1", "100:80: source_limit: -1 is out of range"),
    "source no prefix": (
        SERVICE + "source_cidr = 'lan'",
        "80: source_cidr: prefix 'lan' is not one",
    ),
    "source no text": (SERVICE + "source_cidr = 9", "100:80: source_cidr: 9 will not do; write it"),
    "source with host bits": (
        SERVICE + "source_cidr = '10.9.0.1/24'",
        "source_cidr: prefix '10.9.0.1/24' has bits .*; write 10.9.0.0/24",
    ),
    "source of IPv6": (
        SERVICE + "source_cidr = '2001:db8::/96'\nreals = ['192.168.2.220']",
        "source_cidr 2001:db8::/96: 192.168.2.220 is of another family; leave source_cidr out",
    ),
    **{
        f"source {cidr}": (SERVICE + f"source_cidr = '{cidr}'", f"source_cidr {cidr}: its {said}")
        for cidr, said in (
            ("2001:db8::/64", "length will not do; give /96 to /127"),
            ("2001:db8::1/128", "length will not do"),
            *((cidr, "addresses are no hosts'") for cidr in ("fe80::/96", "ff02::/96", "::/96")),
        )
    },
    "source of one": (SERVICE + "source_cidr = '10.9.0.1'", "10.9.0.1/32: its length .* /8 to /31"),
    "sources of all": (SERVICE + "source_cidr = '8.0.0.0/7'", "8.0.0.0/7: its length will not do"),
    "source of a group": (SERVICE + "source_cidr = '239.0.0.0/8'", "its addresses are no hosts'"),
    "source of loopback": (SERVICE + "source_cidr = '127.9.0.0/16'", "its addresses are no hosts'"),
    "source of nobody": (SERVICE + "source_cidr = '0.9.0.0/16'", "its addresses are no hosts'"),
    "VIP in source": (
        SERVICE + "source_cidr = '192.168.2.0/24'",
        "source_cidr 192.168.2.0/24: 192.168.2.100 is in it; give one without VIP and reals",
    ),
    "real in source": (
        SERVICE + "source_cidr = '10.9.0.0/24'\nreals = ['10.9.0.7']",
        "source_cidr 10.9.0.0/24: 10.9.0.7 is in it",
    ),
    "timeout of 0": ("[timeouts]\ntcp = 0", "timeouts: tcp: 0 s is out of range; give 1 to"),
    "timeout of 32 days": ("[timeouts]\nudp = 2764800", "timeouts: udp: 2764800 s is out of range"),
    "timeout no number": ("[timeouts]\ntcp = '3'", "timeouts: tcp: '3' will not do; write it as"),
    "timeout true": ("[timeouts]\ntcp = true", "timeouts: tcp: True will not do"),
    "one service table": ("[service]\ntcp='1.2.3.4:5'", r"write it as \[\[service\]\]"),
    "no address": ("[[service]]", "service number 1: it has neither tcp nor udp; give one, as tcp"),
    "two addresses": (SERVICE + "udp='1.2.3.4:5'", "service number 1: it has tcp and udp; give on"),
    "address no text": ("[[service]]\ntcp = 80", "service number 1: tcp: 80 will not do"),
    "bad VIP": ("[[service]]\ntcp = 'a:80'", "service number 1: VIP 'a' is not an IP address"),
    "no port": ("[[service]]\ntcp = '1.2.3.4'", "service number 1: .* is not ADDRESS:PORT"),
    "unknown key": (SERVICE + "sched = 'rr'", r"tcp/192.168.2.100:80: unknown key 'sched'; choose"),
    "unknown scheduler": (SERVICE + "scheduler = 'lc'", "100:80: unknown scheduler 'lc'; choose o"),
    "foreign flag": (SERVICE + "flags = ['sh-port']", "100:80: scheduler mh has no flag 'sh-port'"),
    "flag twice": (SERVICE + "flags = ['mh-port', 'mh-port']", "100:80: flags: one is given twice"),
    "flags no list": (SERVICE + "flags = 'mh-port'", "100:80: flags: 'mh-port' will not do"),
    "one_packet with TCP": (SERVICE + "one_packet = true", "100:80: one_packet is for UDP only"),
    "one_packet a number": (SERVICE + "one_packet = 1", "100:80: one_packet: 1 will not do"),
    "service twice": (SERVICE * 2, "lb.toml: service tcp/192.168.2.100:80: there are two tables"),
    "real twice": (SERVICE + "reals = ['1.2.3.4', '1.2.3.4']", "real 1.2.3.4 is given twice"),
    "real no text": (SERVICE + "reals = [7]", r"reals: \[7\] will not do"),
    "empty real": (SERVICE + "reals = ['']", "100:80: real '' is not an IP address"),
    "bad real": (SERVICE + "reals = ['rs1']", "100:80: real 'rs1' is not an IP address"),
    "real with port": (SERVICE + "reals = ['1.2.3.4:80']", "real '1.2.3.4:80' is not an IP"),
    "real is VIP": (SERVICE + "reals = ['192.168.2.100']", "real 192.168.2.100 is the VIP itself"),
    "other option": (SERVICE + "reals = ['1.2.3.4 w=3']", "'1.2.3.4 w=3' has something other tha"),
    "two options": (SERVICE + "reals = ['1.2.3.4 weight=3 weight=3']", "has something other than"),
    "negative weight": (SERVICE + "reals = ['1.2.3.4 weight=-1']", "real 1.2.3.4: weight '-1' wi"),
    "large weight": (
        SERVICE + "reals = ['1.2.3.4 weight=2147483648']",
        "real 1.2.3.4: weight '2147483648' will not do; give .* from 0, .* to 2147483647",
    ),
    "long weight": (SERVICE + "reals = ['1.2.3.4 weight=00000000001']", "'00000000001' will not"),
    "weight in Arabic": (SERVICE + "reals = ['1.2.3.4 weight=٣']", "weight '٣' will not do"),
    "huge weight": (SERVICE + f"reals = ['1.2.3.4 weight={'9' * 5000}']", "weight '9+' will not"),
    "weight no number": (SERVICE + "reals = ['1.2.3.4 weight=']", "weight '' will not do"),
    "unknown tunnel": (
        SERVICE + "reals = ['1.2.3.4 tunnel=vxlan']",
        "there is no tunnel 'vxlan'; c",
    ),
    "tunnel twice": (SERVICE + "reals = ['1.2.3.4 tunnel=gre tunnel=gre']", "something other than"),
    "ipip checksum": (
        SERVICE + "reals = ['1.2.3.4 tunnel=ipip+csum']",
        "real 1.2.3.4: an ipip tun",
    ),
    "gre port": (SERVICE + "reals = ['1.2.3.4 tunnel=gre:7']", "tunnel gre has no port"),
    "gue port 0": (SERVICE + "reals = ['1.2.3.4 tunnel=gue:0']", "tunnel port 0 is none"),
    "gue no port": (SERVICE + "reals = ['1.2.3.4 tunnel=gue:']", "tunnel port '' is not a port"),
    "tunnel flag": (SERVICE + "reals = ['1.2.3.4 tunnel=gue+remcsum']", r"ends in '\+remcsum'"),
    "mapped real": (SERVICE + "reals = ['::ffff:1.2.3.4']", "is an IPv4 address; .* as 1.2.3.4$"),
    "link-local real": (SERVICE + "reals = ['fe80::1']", "fe80::1 is of one link only; give a gl"),
    "real of a zone": (SERVICE + "reals = ['2001:db8::1%eth0']", "::1%eth0 is of one link only"),
    "mapped VIP": ("[[service]]\ntcp = '[::ffff:1.2.3.4]:80'", "is an IPv4 address; .* 1.2.3.4$"),
    "IPv4 loopback VIP": (
        "[[service]]\ntcp = '127.1.2.3:80'",
        "VIP 127.1.2.3 never leaves a host; give an address that others can reach",
    ),
    "loopback real": (SERVICE + "reals = ['127.0.0.1']", "real 127.0.0.1 never leaves a host"),
    "VIP of this network": ("[[service]]\ntcp = '0.1.2.3:80'", "VIP 0.1.2.3 is no host's address"),
    "VIP of class E": ("[[service]]\ntcp = '240.0.0.1:80'", "VIP 240.0.0.1 is no host's address"),
    "address in Arabic": ("[[service]]\ntcp = '١.2.3.4:80'", "VIP '١.2.3.4' is not an IP address"),
    "loopback VIP": ("[[service]]\ntcp = '[::1]:80'", "VIP ::1 never leaves a host; give an addr"),
    "no VIP": ("[[service]]\ntcp = '[::]:80'", "VIP :: is no host's address; give a unicast ad"),
    "IPv6 multicast": (SERVICE + "reals = ['ff0e::1']", "real ff0e::1 is no host's address"),
    "no brackets": ("[[service]]\ntcp = '2001:db8::1:80'", r"write it as .* \[2001:db8::1\]:80"),
    "multicast real": (SERVICE + "reals = ['224.0.0.1']", "real 224.0.0.1 is no host's address"),
    "unspecified VIP": ("[[service]]\ntcp = '0.0.0.0:80'", "VIP 0.0.0.0 is no host's address"),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_name_file_place_and_mend(text, message):
    """Each mistake is one line: the file, where in it, the reason, then the mend."""
    with pytest.raises(FileError, match=message) as caught:
        toml_file.parse(text, "lb.toml")
    assert str(caught.value).startswith("lb.toml: ")
    assert "\n" not in str(caught.value)
    assert caught.value.mend


def test_check_service_takes_weights_from_anywhere():
    """The range of weights holds for services that no file describes."""
    checks.check_service(Service(WEB, reals=(replace(RS1, weight=MAX_WEIGHT),)))
    with pytest.raises(UsageError, match="weight '2147483648' will not do"):
        checks.check_service(Service(WEB, reals=(replace(RS1, weight=MAX_WEIGHT + 1),)))


@given(configurations, configurations)
@settings(max_examples=50, deadline=None)
def test_diff_is_empty_only_for_the_same(old, new):
    """Nothing differs exactly if the two are equal."""
    assert [] == difference.diff(old, toml_file.parse(toml_file.dump(old), "f"))
    assert (old == new) == (difference.diff(old, new) == [])
