# SPDX-License-Identifier: MIT
"""Which places services and reals have in the tables: ids of services, indices of reals."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from xdplb.errors import TableFull
from xdplb.model.service import ServiceKey

NOBODY = 0xFFFE  # no real has this index or a higher one: the owner of slots while all are drained


@dataclass
class Allocation:
    """The places in force.

    services: each service's id, from 1. reals: the indices of each service's reals, in their order;
    as text until they are asked for, because most commands ask for few. next_real: counts all
    indices that were given since the tables were made.
    """

    services: dict[ServiceKey, int] = field(default_factory=dict)
    reals: dict[ServiceKey, str | list[int]] = field(default_factory=dict)
    next_real: int = 1

    def id_of(self, key: ServiceKey) -> int:
        """A service's id."""
        return self.services[key]

    def indices(self, key: ServiceKey) -> list[int]:
        """The indices of a service's reals, in the order of `Service.reals`."""
        found = self.reals[key]
        if isinstance(found, str):
            found = self.reals[key] = list(map(int, found.split()))
        return found

    def all_indices(self) -> Iterator[int]:
        """The indices of all reals."""
        for key in self.reals:
            yield from self.indices(key)

    def take_id(self, key: ServiceKey, limit: int) -> int:
        """Give a service the lowest free id. Raises: TableFull."""
        used = set(self.services.values())
        for number in range(1, limit):
            if number not in used:
                self.services[key] = number
                return number
        raise TableFull(
            f"{len(used) + 1} services are wanted, and the tables hold {limit - 1}",
            "attach with a larger --tune max_services=…",
        )

    def take_index(self, limit: int, kept: "KeptIndices") -> int:
        """The next free index. Raises: TableFull.

        The indices are given in turn, so that each is given again as late as can be: records of
        flows may still name the real that had it before.
        """
        limit = min(limit, NOBODY)
        for number in range(self.next_real, self.next_real + limit - 1):
            index = (number - 1) % (limit - 1) + 1
            if number < limit or index not in kept:  # in the first round all are free
                kept.add(index)
                self.next_real = number + 1
                return index
        raise TableFull(
            f"one more real is wanted, and the tables hold {limit - 1}, of all services together",
            "attach with a larger --tune max_reals=…",
        )

    def forget(self, key: ServiceKey) -> None:
        """Free a service's places."""
        self.services.pop(key, None)
        self.reals.pop(key, None)

    def renew(self, services: Iterable[tuple[ServiceKey, int]], limits: tuple[int, int]) -> None:
        """Give all new places, for tables that were just made and hold no flows.

        services: keys and how many reals each has. limits: of services and of reals.
        Raises: TableFull.
        """
        wanted = list(services)
        if len(wanted) > limits[0] - 1:
            raise TableFull(
                f"{len(wanted)} services are wanted, and the tables hold {limits[0] - 1}",
                "attach with a larger --tune max_services=…",
            )
        total = sum(reals for _, reals in wanted)
        room = min(limits[1], NOBODY) - 1
        if total > room:
            raise TableFull(
                f"{total} reals are wanted, and the tables hold {room}, of all services together",
                "attach with a larger --tune max_reals=…",
            )
        self.services, self.reals, self.next_real = {}, {}, 1
        for number, (key, reals) in enumerate(wanted, 1):
            self.services[key] = number
            self.reals[key] = list(range(self.next_real, self.next_real + reals))
            self.next_real += reals


class KeptIndices:
    """Indices that must not be given now: those in use, and those in use before this change.

    The program may use the latter until the tables follow. The set is made when it is asked for.
    """

    def __init__(self, allocation: Allocation) -> None:
        self._allocation = allocation
        self._before: list[Sequence[int]] = []
        self._set: set[int] | None = None
        self._given: set[int] = set()

    def keep(self, indices: Sequence[int]) -> None:
        """Keep what a service had before this change."""
        self._before.append(indices)
        if self._set is not None:
            self._set.update(indices)

    def add(self, index: int) -> None:
        """An index was given."""
        self._given.add(index)

    def __contains__(self, index: int) -> bool:
        if index in self._given:
            return True
        if self._set is None:
            self._set = {i for indices in self._before for i in indices}
            self._set.update(self._allocation.all_indices())
        return index in self._set
