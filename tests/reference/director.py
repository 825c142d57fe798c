# SPDX-License-Identifier: MIT
"""The whole way of a packet through the director."""

from collections import defaultdict
from typing import Any

from reference import icmp_error, ipv4, ipv6, link, outer, service, transport
from reference.content import Content, Ends, Real
from reference.flow import Flows
from reference.fragment import Fragments
from reference.gue import Ports
from reference.icmp import Answers
from reference.nexthop import NextHops
from reference.outer_source import Sources
from reference.packet import Packet
from reference.schedule import Scheduler
from reference.verdict import XDP_REDIRECT, XDP_TX, Verdict, goes_up

NETWORKS: dict[bytes, Any] = {link.IPV4: ipv4, link.IPV6: ipv6}


class Director:
    """One director: what it goes by, and what it remembers. Time is `tick`, set from outside."""

    def __init__(self, content: Content, tick: int) -> None:
        self.content = content
        self.tick = tick
        self.flows = Flows(content.timeouts)
        self.scheduler = Scheduler(self.flows)
        self.fragments = Fragments()
        self.hops = NextHops()
        self.answers = Answers()
        self.sources = Sources()
        self.ports = Ports()
        self.stats: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])  # packets, bytes, flows

    def change(self, content: Content) -> None:
        """The tables were changed. What was known of reals and services that went is forgotten."""
        for place, real in self.content.reals.items():
            now = content.reals.get(place)
            if now is None or (now.rip, now.service) != (real.rip, real.service):
                self.hops.known.pop(place, None)
                self.stats.pop(place, None)
        gone = {s.id for s in self.content.services.values()}
        for number in gone - {s.id for s in content.services.values()}:
            self.scheduler.forget(number)
        self.content = content

    def handle(self, p: Packet, sent: bytes) -> Verdict:
        """What must become of a frame. `sent`: what did; followed where the choice is free."""
        try:
            return self._balance(p, sent)
        except Verdict as verdict:
            return verdict

    def _balance(self, p: Packet, sent: bytes) -> Verdict:
        content, tick = self.content, self.tick
        link.read_tags(p)
        network = NETWORKS.get(p.ethertype)
        if network is None:
            raise goes_up("not_ip")
        network.read_addresses(p)
        if p.vip not in content.vips:
            self.hops.paths.learn(p, tick)
            raise goes_up("not_vip")
        service.check_denied(p, content)
        network.check_header(p)
        transport.read_ports(p)
        icmp_error.read_quoted(p)
        place = self._pick(p)
        hop = self.hops.find(place, content, tick)
        real = content.reals[place]
        self.answers.check_size(p, hop.mtu, outer.length(real), tick)
        ifindex, p.tags = hop.leave(p.ifindex)
        frame = outer.encapsulate(p, real.tunnel, self._ends(p, real, sent), hop, sent)
        self._count(place, p)
        self.fragments.remember(p, place, content, tick)
        if ifindex == p.ifindex:
            return Verdict(XDP_TX, "forwarded", frame)
        return Verdict(XDP_REDIRECT, "forwarded_redirect", frame)

    def _pick(self, p: Packet) -> int:
        """The place of the packet's real. The kernel gets errors about flows of nobody."""
        if p.fragment == "later":
            return self.fragments.follow(p, self.content, self.tick)
        try:
            found = service.find_service(p, self.content)
            return self.scheduler.pick_real(p, found, self.content, self.tick)
        except Verdict:
            if p.error:
                raise goes_up("icmp") from None
            raise

    def _ends(self, p: Packet, real: Real, sent: bytes) -> Ends:
        port = self.ports.choose(p, real, sent) if real.tunnel.kind == "gue" else 0
        return Ends(self.sources.choose(p, real, sent), real.rip, port)

    def _count(self, place: int, p: Packet) -> None:
        stats = self.stats[place]
        stats[0] += 1
        stats[1] += p.length
        stats[2] += p.new_flow
