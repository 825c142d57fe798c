# SPDX-License-Identifier: MIT
"""One director's state: who owns a service, which places it gives, what an operator configured."""

from dataclasses import replace

import pytest
from faketables import TINY

from xdplb.director import state_file
from xdplb.director.allocation import Allocation, KeptIndices
from xdplb.director.director import _put_configuration, find_service
from xdplb.director.state import State, Wanted, weigh
from xdplb.errors import Conflict, NotFound, TableFull
from xdplb.model.address import parse_address
from xdplb.model.configuration import Configuration
from xdplb.model.service import Protocol, Real, Service, ServiceKey


def key(port: int) -> ServiceKey:
    return ServiceKey(Protocol.TCP, parse_address("192.0.2.100"), port)


def service(port: int, reals: int = 1, owner: str = "operator") -> Service:
    addresses = [parse_address(f"198.51.100.{n}") for n in range(1, reals + 1)]
    return Service(key(port), "rr", reals=tuple(map(Real, addresses)), owner=owner)


@pytest.fixture
def state() -> State:
    """The operator's service on port 80, and another table's on port 443."""
    state = State(Wanted(tunables=TINY))
    state.put_service(service(80))
    state.put_service(service(443, owner="ipvs"))
    return state


# ---- owners ------------------------------------------------------------------------------------


def test_only_the_owner_changes_a_service(state):
    """The operator's commands find his own; another's is refused, and its owner named."""
    assert key(80) == find_service(state, key(80)).key
    with pytest.raises(Conflict, match=r"tcp/192\.0\.2\.100:443 belongs to ipvs, which alone"):
        find_service(state, key(443))
    with pytest.raises(NotFound, match="does not exist"):
        find_service(state, key(81))


def test_apply_leaves_the_services_of_others(state):
    """A configuration without them removes the operator's services, and no others."""
    wanted = Configuration({key(81): service(81)})

    before = _put_configuration(state, wanted, allow_empty=False)

    assert [key(80)] == list(before.services)
    assert [key(81), key(443)] == list(state.wanted.services)
    assert "ipvs" == state.wanted.services[key(443)].owner
    assert [key(81)] == list(state.configuration().services)


def test_apply_of_nothing_is_refused(state):
    """An empty configuration where there are services needs --allow-empty; the others stay."""
    with pytest.raises(Conflict, match=r"would remove 1 service; .*--allow-emp"):
        _put_configuration(state, Configuration(), allow_empty=False)
    assert {key(80), key(443)} == set(state.wanted.services)

    _put_configuration(state, Configuration(), allow_empty=True)

    assert {key(443)} == set(state.wanted.services)


# ---- weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "found", "effective"),
    [(4, 100, 4), (4, 50, 2), (1, 10, 1), (3, 1, 1), (0, 100, 0), (7, 0, 0), (2**31 - 1, 100, -1)],
)
def test_effective_weight(weight, found, effective):
    """Configured × found, in percent: at least 1 of what serves at all, 0 of what is drained."""
    assert (effective if effective >= 0 else weight) == weigh(weight, found)


def test_what_was_found_is_kept_apart(state):
    """It outlives the file, changes the effective weight alone, and goes with its service."""
    state.found[key(80)] = {"198.51.100.1": 0}
    state = state_file.decode(state_file.encode(state), "test")

    assert 0 == state.effective(key(80)).reals[0].weight
    assert 1 == state.configuration().services[key(80)].reals[0].weight

    state.remove_service(key(80))
    state.put_service(service(80))
    assert 1 == state.effective(key(80)).reals[0].weight


# ---- places ------------------------------------------------------------------------------------


def test_indices_are_given_in_turn(state):
    """A freed index is given again as late as can be, and never one that is in use."""
    given = []
    for _ in range(2 * TINY.max_reals):
        state.put_service(service(81))
        given += state.allocated.indices(key(81))
        state.remove_service(key(81))
        state = state_file.decode(state_file.encode(state), "test")

    used = {1, 2}
    turn = list(range(3, TINY.max_reals))
    assert turn == given[: len(turn)]
    assert turn == given[len(turn) : 2 * len(turn)]
    assert not used & set(given)


def test_a_freed_index_is_not_given_within_the_change(state):
    """The program may use it until the tables follow."""
    state.allocated.next_real = TINY.max_reals  # the first round is over
    state.remove_service(key(80))

    state.put_service(service(81))

    assert [1] != state.allocated.indices(key(81))


def test_reals_that_stay_keep_their_indices(state):
    """Whatever comes, goes or moves beside them: flows' records name them."""
    state.put_service(service(80, reals=4))
    before = dict(zip(service(80, 4).reals, state.allocated.indices(key(80)), strict=True))
    kept = service(80, 4).reals[::-2]

    state.put_service(replace(service(80), reals=(*kept, Real(parse_address("203.0.113.9")))))

    after = state.allocated.indices(key(80))
    assert [before[real] for real in kept] == after[:2]
    assert after[2] not in before.values()


def test_services_take_the_lowest_free_id(state):
    """Ids are few: each is used again at once."""
    state.put_service(service(81))
    assert 3 == state.allocated.id_of(key(81))
    state.remove_service(key(80))
    state.put_service(service(82))
    assert 1 == state.allocated.id_of(key(82))


def test_full_tables_say_what_they_hold():
    """The words give the table's size, whatever the service has, and the mend."""
    state = State(Wanted(tunables=TINY))
    for port in range(1, TINY.max_services):
        state.put_service(service(port))
    with pytest.raises(TableFull, match=r"16 services .* hold 15; .*--tune max_services"):
        state.put_service(service(99))

    with pytest.raises(TableFull, match=r"hold 63, of all services together; .*--tune max_reals"):
        state.put_service(service(1, reals=64))
    with pytest.raises(TableFull, match=r"9 prefixes to deny are more than 8; .*max_denied"):
        state.put_denied([f"203.0.113.{n}" for n in range(9)])


def test_new_tables_must_hold_all():
    """An attach with smaller tables is refused before anything is made; larger ones renumber."""
    allocated = Allocation()
    wanted = [(key(80), 3), (key(81), 2)]
    with pytest.raises(TableFull, match="2 services are wanted, and the tables hold 1"):
        allocated.renew(wanted, (2, 64))
    with pytest.raises(TableFull, match="5 reals are wanted, and the tables hold 4"):
        allocated.renew(wanted, (16, 5))
    assert {} == allocated.services

    allocated.renew(wanted, (16, 64))

    assert {key(80): [1, 2, 3], key(81): [4, 5]} == allocated.reals
    assert 6 == allocated.take_index(64, KeptIndices(allocated))


def test_a_real_is_known_however_it_came(state):
    """has_real() follows reals that are added one by one, and services that are put anew."""
    first, second, third = (parse_address(f"198.51.100.{n}") for n in (1, 2, 3))
    assert (True, False) == (state.has_real(key(80), first), state.has_real(key(80), second))
    state.add_real(key(80), Real(second))
    assert state.has_real(key(80), second)

    state.put_service(replace(service(80), reals=(Real(second),)))
    assert not state.has_real(key(80), first)
    state.add_real(key(80), Real(third))

    assert [False, True, True] == [state.has_real(key(80), a) for a in (first, second, third)]
