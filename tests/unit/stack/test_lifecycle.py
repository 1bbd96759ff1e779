"""Who died is started again, more and more slowly, and given up after too many starts in vain."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.stack.lifecycle import Lifecycle, RestartPolicy, State

POLICY = RestartPolicy(first=0.1, longest=10.0, window=120.0, limit=10)


def died_at(times: list[float], *, ready: bool = False) -> Lifecycle:
    found = Lifecycle()
    for now in times:
        started = found.spawned()
        found = (started.became_ready() if ready else started).died(code=-9, now=now, policy=POLICY)
    return found


def test_a_death_is_followed_by_a_restart() -> None:
    dead = Lifecycle().spawned().became_ready().died(code=1, now=5.0, policy=POLICY)
    assert dead.state is State.BACKOFF
    assert dead.last_exit == 1
    again = dead.spawned().became_ready()
    assert again.state is State.READY
    assert again.restarts == 1


def test_starts_in_vain_in_quick_succession_end_in_failed() -> None:
    assert died_at([float(n) for n in range(9)]).state is State.BACKOFF
    assert died_at([float(n) for n in range(10)]).state is State.FAILED


@given(st.lists(st.floats(min_value=13.5, max_value=1000.0), max_size=60))
def test_starts_in_vain_far_apart_never_end_in_failed(gaps: list[float]) -> None:
    times = list(itertools.accumulate(gaps))
    assert not times or died_at(times).state is State.BACKOFF


@given(st.lists(st.floats(min_value=0.0, max_value=1000.0), min_size=1, max_size=60))
def test_who_comes_up_each_time_is_never_given_up(gaps: list[float]) -> None:
    dead = died_at(list(itertools.accumulate(gaps)), ready=True)
    assert dead.state is State.BACKOFF
    assert POLICY.delay(len(dead.deaths)) <= POLICY.longest


def test_who_came_up_once_has_all_its_starts_again() -> None:
    nine = died_at([float(n) for n in range(9)])
    once = nine.spawned().became_ready().died(code=-9, now=9.0, policy=POLICY)
    found = once
    for now in range(10, 19):
        found = found.spawned().died(code=1, now=float(now), policy=POLICY)
        assert found.state is State.BACKOFF
    assert found.spawned().died(code=1, now=19.0, policy=POLICY).state is State.FAILED


@given(st.lists(st.floats(min_value=0.0, max_value=60.0), min_size=1, max_size=40))
def test_only_deaths_within_the_window_count(gaps: list[float]) -> None:
    times = list(itertools.accumulate(gaps))
    found = Lifecycle()
    for now in times:
        if found.state is State.FAILED:
            break
        found = found.spawned().died(code=1, now=now, policy=POLICY)
        assert all(now - at < POLICY.window for at in found.deaths)
        assert (found.state is State.FAILED) == (len(found.deaths) >= POLICY.limit)


@given(st.integers(min_value=1, max_value=1000))
def test_waits_grow_and_are_bounded(deaths: int) -> None:
    assert POLICY.first <= POLICY.delay(deaths) <= POLICY.delay(deaths + 1) <= POLICY.longest


def test_an_end_that_was_asked_for_is_no_death() -> None:
    ended = Lifecycle().spawned().became_ready().stopping().died(code=0, now=1.0, policy=POLICY)
    assert ended.state is State.STOPPED
    assert not ended.deaths


def test_a_start_by_hand_forgets_the_deaths() -> None:
    given_up = died_at([float(n) for n in range(10)])
    assert given_up.revived() == Lifecycle(restarts=given_up.restarts, last_exit=-9)


@pytest.mark.parametrize("state", [s for s in State if s is not State.STARTING])
def test_only_a_starting_process_becomes_ready(state: State) -> None:
    assert Lifecycle(state=state).became_ready().state is state


@given(st.lists(st.tuples(st.floats(min_value=0.0, max_value=60.0), st.booleans()), min_size=1, max_size=60))
def test_what_ends_for_want_of_room_is_never_given_up_for_that(steps: list[tuple[float, bool]]) -> None:
    found, now = Lifecycle(), 0.0
    for gap, started in steps:
        now += gap
        if started:
            found = found.spawned().died(code=1, now=now, policy=POLICY, blameless=True)
        else:
            found = found.waiting(now=now, policy=POLICY)
        assert found.state is State.BACKOFF
        assert POLICY.delay(len(found.deaths)) <= POLICY.longest


def test_waiting_ends_nothing_that_was_asked_to_end() -> None:
    asked = Lifecycle().spawned().stopping()
    assert asked.waiting(now=1.0, policy=POLICY) == asked
    assert asked.died(code=1, now=1.0, policy=POLICY, blameless=True).state is State.STOPPED
