# SPDX-License-Identifier: MIT
"""The ways to the reals, by address. They stay text until they are asked for, as services do.

Reals of one network share a way. So the state file has few ways, each with the addresses of many
reals.
"""

from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import asdict
from typing import Any

from xdplb.model.network import Route


class Routes(MutableMapping[str, Route]):
    """A mapping from reals' addresses to their ways."""

    def __init__(self, texts: Iterable[tuple[Route, str]] = ()) -> None:
        """texts: each way, with the addresses of the reals that share it."""
        self._texts = list(texts)
        self._known: dict[str, Route] | None = None
        self._added: dict[str, Route] = {}
        self._lost = False

    @property
    def _all(self) -> dict[str, Route]:
        if self._known is None:
            self._known = {}
            for route, addresses in self._texts:
                self._known.update(dict.fromkeys(addresses.split(), route))
        return self._known

    def __getitem__(self, address: str) -> Route:
        return self._all[address]

    def __setitem__(self, address: str, route: Route) -> None:
        self._lost |= address in self._all
        self._all[address] = self._added[address] = route

    def __delitem__(self, address: str) -> None:
        del self._all[address]
        self._lost = True

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def encoded(self) -> list[Any]:
        """What the state file holds: [a Route's fields, "address …"] for each way."""
        if self._lost:
            self._texts, self._added, self._lost = [], dict(self._all), False
        if self._added:
            sharing: dict[Route, list[str]] = {route: [text] for route, text in self._texts}
            for address, route in self._added.items():
                sharing.setdefault(route, []).append(address)
            self._texts = [(route, " ".join(all_)) for route, all_ in sharing.items()]
            self._added = {}
        return [[asdict(route), addresses] for route, addresses in self._texts]
