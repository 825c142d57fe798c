# SPDX-License-Identifier: MIT
"""Where a real's frames leave. The network is asked once a tick."""

from reference.content import NO_NEIGHBOUR, NO_ROUTE, Content, Hop
from reference.path import Paths
from reference.verdict import goes_up, is_lost


class NextHops:
    """The hop of each real, by its index, and the tick when it was asked."""

    def __init__(self) -> None:
        self.paths = Paths()
        self.known: dict[int, tuple[Hop, int]] = {}

    def find(self, place: int, content: Content, tick: int) -> Hop:
        """A neighbour that is being resolved again keeps its old hop; a lost route has none."""
        real = content.reals[place]
        if real.local:
            raise goes_up("local")
        hop, asked = self.known.get(place, (None, None))
        if hop and asked == tick:
            return hop
        answer = content.network[real.rip]
        if answer == NO_ROUTE:
            self.known.pop(place, None)
            raise is_lost("no_route")
        if answer == NO_NEIGHBOUR:
            if hop is None:
                raise is_lost("no_neighbour")
            self.known[place] = hop, tick
            return hop
        answer = answer._replace(mtu=min(answer.mtu, self.paths.mtu(real.rip, tick)))
        self.known[place] = answer, tick
        return answer
