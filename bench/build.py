# SPDX-License-Identifier: MIT
"""Compile this tree's program into a pin directory and fill its tables, as a process of its own.

    python bench/build.py PIN_DIR < SPECIFICATION > DESCRIPTIONS

A measurement of two versions runs each version's own copy of this file, so each version's tables
are filled by its own code. SPECIFICATION is JSON: {"tunables": {name: value}, "source": DIP,
"source_v6": the IPv6 DIP, "services": [{"key": "tcp/192.0.2.1:80", "scheduler": "mh",
"reals": [RIP, …], "tunnel": "ipip"}, …]}. An older tree's copy has neither "source_v6" nor
"tunnel": rig.py searches the file for that word.
"""

import json
import sys
from pathlib import Path

from xdplb.director.state import Attached, State, Wanted
from xdplb.director.table_writer import TableWriter
from xdplb.kernel import clock, libbpf, loader, program_cache
from xdplb.kernel.tables import Tables
from xdplb.model.address import parse_address
from xdplb.model.network import Route
from xdplb.model.service import Real, Service, ServiceKey
from xdplb.model.tunables import Tunables
from xdplb.model.tunnel import Tunnel


def main() -> None:
    pin_dir = Path(sys.argv[1])
    specification = json.load(sys.stdin)
    tunables = Tunables(**specification["tunables"])
    timer = clock.running_clock()
    program = loader.load(program_cache.director(tunables, timer), pin_dir)
    libbpf.obj_pin(program.fd, pin_dir / "program")

    state = State(Wanted(tunables=tunables))
    state.attached = Attached("", "", timer.hz, program.tables, {}, {})
    sources = {4: specification["source"], 6: specification["source_v6"]}
    for service in specification["services"]:
        tunnel = Tunnel.parse(service["tunnel"])
        reals = tuple(Real(parse_address(real), tunnel=tunnel) for real in service["reals"])
        state.put_service(
            Service(ServiceKey.parse(service["key"]), service["scheduler"], reals=reals)
        )
        for real in reals:
            source = sources[real.address.version]
            state.routes[str(real.address)] = Route("", "", source, local=False)
    tables = Tables(pin_dir, program.tables)
    tables.put_programs(program.kinds)
    TableWriter(tables, state).all()
    json.dump(program.tables, sys.stdout)


if __name__ == "__main__":
    main()
