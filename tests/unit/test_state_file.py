# SPDX-License-Identifier: MIT
"""The state's file: what was written is read, of this version and the one before; all else is one
line.
"""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdplb.director import state_file
from xdplb.director.allocation import Allocation
from xdplb.director.journal import Journal
from xdplb.director.routes import Routes
from xdplb.director.services import Services
from xdplb.director.state import Attached, State, Transition, Wanted
from xdplb.director.state_file import Damaged
from xdplb.errors import XdplbError
from xdplb.model.address import parse_address, parse_prefix
from xdplb.model.configuration import Timeouts
from xdplb.model.network import Hop, Route
from xdplb.model.schedulers import SCHEDULERS
from xdplb.model.service import MAX_WEIGHT, Protocol, Real, Service, ServiceKey
from xdplb.model.tunables import Tunables
from xdplb.model.tunnel import Tunnel

FILE = "/run/xdplb/default/state.json"
WEB = ServiceKey.parse("tcp/192.0.2.100:80")

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
keys = st.builds(ServiceKey, st.sampled_from(list(Protocol)), addresses, st.integers(0, 65535))
weights = st.integers(0, MAX_WEIGHT)
tunnels = st.sampled_from([Tunnel(), Tunnel("gre", 0, checksum=True), Tunnel("gue", 6080)])
words = st.text("abcdefghij_", min_size=1, max_size=8)
counts = st.integers(0, 2**63)


def ways(routes):
    """The ways to these addresses, as a state has them."""
    made = Routes()
    made.update(routes)
    return made


routes = st.builds(Route, words, words, words, st.booleans())
REALS = {"key": "unsigned int", "leaf": ["real", [["service", "unsigned short"]], "struct"]}
ATTACHED = Attached("0123", "programs_7", 250, {"reals": REALS}, {"reals": 3}, {"eth0": "auto"})


@st.composite
def services(draw: Any, key: ServiceKey) -> Service:
    found = draw(st.lists(addresses, unique=True, max_size=5))
    scheduler = SCHEDULERS[draw(st.sampled_from(list(SCHEDULERS)))]
    allowed = sorted(scheduler.flags)
    return Service(
        key,
        scheduler.name,
        frozenset(draw(st.sets(st.sampled_from(allowed)))) if allowed else frozenset(),
        draw(st.booleans()),
        tuple(Real(a, draw(weights), draw(weights), draw(tunnels)) for a in found),
        draw(st.integers(0, 10**9)),
        draw(st.integers(0, 10**9)),
        draw(st.sampled_from([None, parse_prefix("198.18.0.0/15"), parse_prefix("2001:db8::/64")])),
        draw(st.sampled_from(["operator", "ipvs"])),
    )


@st.composite
def states(draw: Any) -> State:
    """Any state that a director may have."""
    known = draw(st.lists(keys, unique=True, max_size=4))
    wanted = Services()
    for key in known:
        wanted[key] = draw(services(key))
    indices = iter(range(1, 100))
    some = st.sampled_from(known) if known else st.nothing()
    return State(
        Wanted(
            Tunables(max_reals=draw(st.integers(2, 65536))),
            Timeouts(tcp=draw(st.integers(1, 10**6))),
            draw(st.dictionaries(addresses, words | st.just(""), max_size=3)),
            draw(st.lists(addresses.map(str), unique=True, max_size=3)),
            wanted,
        ),
        Allocation(
            {key: number for number, key in enumerate(known, 1)},
            {key: [next(indices) for _ in wanted[key].reals] for key in known},
            draw(st.integers(1, 10**6)),
        ),
        draw(st.sampled_from([None, ATTACHED])),
        draw(st.dictionaries(some, st.builds(Transition, counts, st.lists(counts, max_size=3)))),
        draw(st.dictionaries(some, st.dictionaries(addresses.map(str), st.integers(0, 100)))),
        draw(st.dictionaries(some, st.dictionaries(words, counts, max_size=3))),
        ways(draw(st.dictionaries(addresses.map(str), routes))),
    )


def values(state: State) -> Any:
    """All of a state, as plain values that can be compared."""
    return (
        state.wanted.tunables,
        state.wanted.timeouts,
        list(state.wanted.vips.items()),
        state.wanted.denied,
        list(state.wanted.services.items()),
        {key: state.allocated.indices(key) for key in state.allocated.reals},
        state.allocated.services,
        state.allocated.next_real,
        *(state.attached, state.transitions, state.found, state.removed, state.routes),
    )


@given(states())
def test_what_is_written_is_read(state):
    """Every value and every order; and what nobody looked at is written as it was."""
    text = state_file.encode(state)

    assert text == state_file.encode(state_file.decode(text, FILE))
    assert values(state) == values(state_file.decode(text, FILE))


# Version 1, as xdplb/controller/store.py of 4fb64d1 wrote it.
VERSION_1: dict[str, Any] = {
    "version": 1,
    "tunables": {"max_vips": 64, "max_services": 32, "max_reals": 4096, "ring_slots": 4093},
    "timeouts": {"tcp": 60, "tcpfin": 30, "udp": 10},
    "layout": "0123456789ab",
    "interfaces": {"eth0": {"mode": "native", "prog": 7}},
    "vips": {"192.0.2.100": "eth0", "2001:db8::100": ""},
    "denied": ["203.0.113.0/24"],
    "services": {
        "tcp/192.0.2.100:80": {
            "id": 4,
            "scheduler": "mh",
            "flags": ["mh-port"],
            "one_packet": False,
            "limit": 100,
            "source_limit": 0,
            "source_cidr": "198.18.0.0/15",
            "until": 77,
            "between": [9],
            "past": {"packets": 5},
            "reals": "198.51.100.1=9,0,3 198.51.100.2=11,2,2,gre",
        },
        "udp/[2001:db8::100]:53": {
            "id": 2,
            "scheduler": "rr",
            "flags": [],
            "one_packet": True,
            "until": 0,
            "between": [],
            "past": {},
            "reals": "",
        },
    },
    "routes": [[{"device": "eth0", "via": "", "source": "192.0.2.1", "local": False}, "1.2.3.4"]],
    "next_real": 12,
    "lo_forwarding": "0",
    "lo_forwarding_v6": "0",
    "hz": 250,
}


def test_version_1_is_converted():
    """What the operator had said is all there, in his order; nothing is attached any more. Limits
    and sources came within version 1, so older files have none.
    """
    state = state_file.decode(json.dumps(VERSION_1).encode(), FILE)

    wanted = state.wanted
    dns = ServiceKey.parse("udp/[2001:db8::100]:53")
    reals = (
        Real(parse_address("198.51.100.1"), 0, 3),
        Real(parse_address("198.51.100.2"), 2, 2, Tunnel.parse("gre")),
    )
    source = parse_prefix("198.18.0.0/15")
    mh = Service(WEB, "mh", frozenset({"mh-port"}), False, reals, 100, 0, source)
    assert [mh, Service(dns, "rr", one_packet=True)] == list(wanted.services.values())
    assert Timeouts(60, 30, 10) == wanted.timeouts
    assert 4096 == wanted.tunables.max_reals
    assert ["203.0.113.0/24"] == wanted.denied
    vips = {parse_address("192.0.2.100"): "eth0", parse_address("2001:db8::100"): ""}
    assert vips == wanted.vips
    assert state.attached is None
    assert [1, 2] == state.allocated.indices(WEB)
    again = state_file.decode(state_file.encode(state), FILE)
    assert values(state) == values(again)


def one_service() -> dict[str, Any]:
    """The JSON of a state with one service of two reals."""
    state = State()
    reals = (Real(parse_address("198.51.100.1")), Real(parse_address("198.51.100.2")))
    state.put_service(Service(WEB, "rr", reals=reals))
    return json.loads(state_file.encode(state))


def test_an_unknown_size_is_no_reason_to_refuse():
    """A tunable of another xdplb is left out; what is known is taken."""
    raw = one_service()
    raw["wanted"]["tunables"] |= {"max_wonders": 3, "max_reals": 128}

    state = state_file.decode(json.dumps(raw).encode(), FILE)

    assert Tunables(max_reals=128) == state.wanted.tunables


def test_a_newer_version_is_refused():
    """It is named as newer, and not called damaged."""
    raw = one_service() | {"version": 3}

    with pytest.raises(Damaged, match=r"written by a newer xdplb \(format 3, not 2\); use that"):
        state_file.decode(json.dumps(raw).encode(), FILE)


WHOLE = json.dumps(one_service()).encode()
BROKEN = {
    "empty": b"",
    "null": b"null",
    "{}": b"{}",
    "[]": b"[]",
    "a number": b"7",
    "a text": b'"state"',
    "not JSON": b"services: none",
    "not UTF-8": b"\xff\xfe\x00",
    "truncated": WHOLE[: len(WHOLE) // 2],
    "zeros": bytes(len(WHOLE)),
    "deep": b"[" * 100_000,
    "version 0": b'{"version": 0}',
    "version true": b'{"version": true}',
    "version of another kind": b'{"version": []}',
    "version 2 alone": b'{"version": 2}',
    "version 1 alone": b'{"version": 1}',
}


@pytest.mark.parametrize("case", BROKEN)
def test_damage_is_one_line(case):
    """The file, the reason, the mend."""
    with pytest.raises(Damaged) as raised:
        state_file.decode(BROKEN[case], FILE)

    assert FILE in raised.value.what
    assert f"mv {FILE} {FILE}.old" in raised.value.mend
    assert "\n" not in str(raised.value)


def paths(value: Any, before: tuple[Any, ...] = ()) -> Any:
    """The way to each value within a value of JSON."""
    yield before
    items = value.items() if isinstance(value, dict) else ()
    for name, inner in items if isinstance(value, dict) else enumerate(value or ()):
        if isinstance(inner, dict | list):
            yield from paths(inner, (*before, name))
        else:
            yield (*before, name)


STRANGE = [None, -1, 1.5, "", "x y=z", [], [7], {}, {"x": 1}, True]


@pytest.mark.parametrize("path", [p for p in paths(one_service()) if p], ids=str)
def test_any_value_that_is_wrong_is_one_line(path):
    """Whatever stands in any place: the state is read and can be used, or one line says why not."""
    for strange in [*STRANGE, copy]:
        raw = one_service()
        inner: Any = raw
        for name in path[:-1]:
            inner = inner[name]
        if strange is copy:
            del inner[path[-1]]
        else:
            inner[path[-1]] = strange
        try:
            state = state_file.decode(json.dumps(raw).encode(), FILE)
            values(state)
            state_file.encode(state)
            state.configuration()
            state.vips()
            state.put_service(Service(ServiceKey.parse("tcp/192.0.2.100:81"), "rr"))
        except XdplbError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"null", b'{"services": 3, "hops": [7]}', b'{"hops": [], "x": 1}']
)
def test_a_journal_of_another_form_means_look_at_everything(tmp_path, text):
    """It is no reason to stop: the next command brings the whole machine to the state."""

    class Here:
        journal = tmp_path / "journal.json"

    Here.journal.write_bytes(text)

    assert Journal(machine=True) == Journal.read(Here)  # type: ignore[arg-type]


def test_a_journal_is_read_as_it_was_written(tmp_path):
    """All its fields; none if there is no file."""

    class Here:
        journal = tmp_path / "journal.json"

    assert Journal.read(Here) is None  # type: ignore[arg-type]
    written = Journal([str(WEB)], [Hop("192.0.2.1", "eth0")], machine=True, failed="no room")
    written.write(Here)  # type: ignore[arg-type]

    assert written == Journal.read(Here)  # type: ignore[arg-type]
