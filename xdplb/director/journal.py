# SPDX-License-Identifier: MIT
"""The journal of a change: what it touches, and the state before it.

A change writes before.json, then journal.json, then state.json. It removes the journal when tables
and interfaces follow the state. Whoever finds a journal finishes the change or undoes it: see
recovery.py.
"""

import json
import os
from dataclasses import asdict, dataclass, field

from xdplb.director import files, state_file
from xdplb.director.instance import Instance
from xdplb.director.state import State
from xdplb.errors import XdplbError, unwritable
from xdplb.model.network import Hop
from xdplb.model.service import ServiceKey


@dataclass
class Journal:
    """What a change touches, beyond what state and tables tell.

    services: keys. hops: the next hops that the change may leave unused. machine: whether links,
    addresses and sysctls follow too. failed: why it could be neither finished nor undone; "" if
    nobody has tried.
    """

    services: list[str] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)
    machine: bool = False
    failed: str = ""

    @classmethod
    def read(cls, instance: Instance) -> "Journal | None":
        """The journal of an unfinished change, None if there is none. Raises: NoPermission."""
        content = files.read_bytes(instance.journal)
        if content is None:
            return None
        try:
            raw = json.loads(content)
            services = [str(ServiceKey.parse(text)) for text in raw["services"]]
            hops = [Hop(str(via), str(device)) for via, device in raw["hops"]]
            return cls(services, hops, bool(raw["machine"]), str(raw["failed"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, XdplbError):
            return cls(machine=True)  # damaged, or another xdplb's: look at everything

    def begin(self, instance: Instance) -> None:
        """Write it, before the state changes. Raises: XdplbError.

        An unfinished change stays part of it, and the state before that one is the one to go back
        to.
        """
        unfinished = Journal.read(instance)
        if unfinished is not None:
            self.services = sorted({*self.services, *unfinished.services})
            self.hops = sorted({*self.hops, *unfinished.hops})
            self.machine |= unfinished.machine
        else:
            self._keep_state(instance)
        self.write(instance)

    @staticmethod
    def _keep_state(instance: Instance) -> None:
        instance.before.unlink(missing_ok=True)
        try:
            os.link(instance.state, instance.before)
        except FileNotFoundError:
            files.write_bytes(instance.before, state_file.encode(State()))  # before the first one
        except OSError as error:
            raise unwritable(instance.before, error) from error

    def write(self, instance: Instance) -> None:
        """Write it over the old one. Raises: XdplbError."""
        files.write_json(instance.journal, asdict(self))

    @staticmethod
    def end(instance: Instance) -> None:
        """The change is done, or undone."""
        instance.journal.unlink(missing_ok=True)
        instance.before.unlink(missing_ok=True)
