# SPDX-License-Identifier: MIT
"""What differs between two configurations, and what the new one takes over."""

from dataclasses import replace

from xdplb.model import difference
from xdplb.model.address import parse_address, parse_prefix
from xdplb.model.configuration import Configuration, Timeouts
from xdplb.model.service import Protocol, Real, Service, ServiceKey
from xdplb.model.tunnel import Tunnel

VIP = parse_address("192.168.2.100")
WEB = ServiceKey(Protocol.TCP, VIP, 80)
RS1 = Real(parse_address("192.168.2.220"))
RS2 = Real(parse_address("192.168.2.210"), 3, 3)
SOURCES = parse_prefix("10.9.0.0/24")


def of(*services, timeouts=None, denied=()):
    prefixes = frozenset(map(parse_prefix, denied))
    return Configuration({s.key: s for s in services}, timeouts or Timeouts(), prefixes)


def test_diff_reads_like_the_change():
    """One line per change: services, their traits, reals, weights."""
    mail = Service(ServiceKey(Protocol.TCP, VIP, 25), "sh", reals=(RS1,))
    dns = Service(
        ServiceKey(Protocol.UDP, VIP, 53),
        "mh",
        frozenset({"mh-port", "mh-fallback"}),
        True,
        (RS2,),
        20,
    )
    gone = Real(parse_address("192.168.2.230"))
    old = of(
        Service(
            WEB,
            "rr",
            reals=(RS1, gone),
            limit=5,
            source_limit=5,
            source_cidr=SOURCES,
        ),
        mail,
        denied=["192.0.2.0/24", "10.0.0.0/8"],
    )
    new = of(
        Service(
            WEB,
            "mh",
            frozenset({"mh-port"}),
            reals=(replace(RS1, weight=3), RS2),
            source_limit=7,
        ),
        dns,
        timeouts=Timeouts(tcp=600),
        denied=["198.51.100.0/24", "9.0.0.0/8", "10.0.0.0/8"],
    )
    expected = [
        "~ timeout tcp 900 → 600",
        "- deny 192.0.2.0/24",
        "+ deny 9.0.0.0/8",
        "+ deny 198.51.100.0/24",
        "~ service tcp/192.168.2.100:80 scheduler rr → mh",
        "~ service tcp/192.168.2.100:80 flags none → mh-port",
        "~ service tcp/192.168.2.100:80 limit 5 → none",
        "~ service tcp/192.168.2.100:80 source_limit 5 → 7",
        "~ service tcp/192.168.2.100:80 source_cidr 10.9.0.0/24 → none",
        "~ real tcp/192.168.2.100:80 192.168.2.220 weight 1 → 3",
        "- real tcp/192.168.2.100:80 192.168.2.230",
        "+ real tcp/192.168.2.100:80 192.168.2.210 weight 3",
        "- service tcp/192.168.2.100:25",
        "- real tcp/192.168.2.100:25 192.168.2.220",
        "+ service udp/192.168.2.100:53 mh mh-fallback,mh-port one_packet limit=20",
        "+ real udp/192.168.2.100:53 192.168.2.210 weight 3",
    ]
    assert expected == difference.diff(old, new)


def test_diff_of_tunnels():
    """A tunnel is named where it changes, and of a new real if it is not IPIP."""
    other = replace(RS2, tunnel=Tunnel("gue", 6080, True))
    old, new = of(Service(WEB, reals=(RS1,))), of(Service(WEB, reals=(RS1, other)))
    then = of(Service(WEB, reals=(replace(RS1, tunnel=Tunnel("gre")), other)))

    assert ["+ real tcp/192.168.2.100:80 192.168.2.210 weight 3 tunnel gue:6080+csum"] == (
        difference.diff(old, new)
    )
    assert ["~ real tcp/192.168.2.100:80 192.168.2.220 tunnel ipip → gre"] == difference.diff(
        new, then
    )


def test_diff_of_the_order_of_reals():
    """Order counts: it is that of rr's turns and of mh's claims."""
    old, new = of(Service(WEB, reals=(RS1, RS2))), of(Service(WEB, reals=(RS2, RS1)))
    assert ["~ service tcp/192.168.2.100:80 order of reals"] == difference.diff(old, new)


def test_last_weights_are_carried_over():
    """A drained real keeps what the old configuration knows of it; a new weight sets its own."""
    old = of(Service(WEB, reals=(Real(RS1.address, 0, 7), Real(RS2.address, 5, 5))))
    drained = of(Service(WEB, reals=(Real(RS1.address, 0, 1), Real(RS2.address, 0, 1))))
    raised = of(Service(WEB, reals=(Real(RS1.address, 4, 1),)))

    def last_weights(new):
        carried = difference.carry_last_weights(old, new)
        return [real.last_weight for real in carried.services[WEB].reals]

    assert [7, 5] == last_weights(drained)
    assert [4] == last_weights(raised)


def test_last_weights_do_not_cross_services():
    """The same address in another service has a history of its own."""
    mail = ServiceKey(Protocol.TCP, VIP, 25)
    old = of(Service(WEB, reals=(Real(RS1.address, 5, 5),)))
    new = of(Service(mail, reals=(Real(RS1.address, 0, 1),)))
    assert new == difference.carry_last_weights(old, new)
