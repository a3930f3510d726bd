"""Limits: never more than is allowed, and never less than could be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import accumulate, combinations

from hypothesis import given
from hypothesis import strategies as st

from services.task.domain.limits import Limit
from services.task.domain.policy import ConcurrencyLimit, LimitStrategy, Policy, RateLimit

START = datetime(2026, 1, 1, tzinfo=UTC)

wishes = st.lists(
    st.tuples(st.floats(0, 3), st.integers(1, 20)), min_size=1, max_size=25
)  # seconds since the last, units


def limit_of(units: int, period: float) -> Limit:
    limit = Limit("acme", "key")
    limit.define(Policy(rate_limits=(RateLimit("key", units, period),)))
    return limit


@given(units=st.integers(1, 20), period=st.floats(0.01, 30), wishes=wishes)
def test_in_any_time_no_more_starts_than_the_bucket_and_what_it_refills(
    units: int, period: float, wishes: list[tuple[float, int]]
) -> None:
    """The bound of the algorithm: a window of length w sees at most units * (1 + w / period)."""
    limit, taken = limit_of(units, period), list[tuple[float, int]]()
    times = accumulate(gap for gap, _ in wishes)
    for seconds, (_, wish) in zip(times, wishes, strict=True):
        now, wanted = START + timedelta(seconds=seconds), min(wish, units)
        if limit.is_open(now, wanted):
            limit.take(now, wanted)
            taken.append((seconds, wanted))
    for first, last in combinations(range(len(taken)), 2):
        within = taken[last][0] - taken[first][0]
        used = sum(count for _, count in taken[first : last + 1])
        # Times are kept to the microsecond, each start may be that much early.
        slack = 3e-6 * (last - first + 1)
        assert used <= units * (1 + (within + slack) / period) + 1e-9


@given(units=st.integers(1, 20), period=st.floats(0.01, 30), wishes=wishes)
def test_who_waits_can_start_when_it_is_due(
    units: int, period: float, wishes: list[tuple[float, int]]
) -> None:
    limit, now = limit_of(units, period), START
    limit.members = limit.waiting = 1
    for _, wish in wishes:
        wanted = limit.next_units = min(wish, units)
        if not limit.is_open(now, wanted):
            due = limit.due_time(now)
            assert due is not None
            assert due > now
            now = due
        assert limit.is_open(now, wanted)
        limit.take(now, wanted)


@given(units=st.integers(1, 20), period=st.floats(0.01, 30), wishes=wishes)
def test_free_units_can_be_taken_and_none_beyond(
    units: int, period: float, wishes: list[tuple[float, int]]
) -> None:
    limit, now = limit_of(units, period), START
    for gap, wish in wishes:
        now += timedelta(seconds=gap)
        free = limit.free_units(now)
        assert 0 <= free <= units
        taken = min(wish, free)
        if taken:
            assert limit.is_open(now, taken)
            limit.take(now, taken)
            assert abs(limit.free_units(now) - (free - taken)) <= 1


def test_an_idle_bucket_is_full_again_after_its_period() -> None:
    limit = limit_of(5, 10.0)
    limit.take(START, 5)
    assert not limit.is_open(START, 1)
    assert limit.is_open(START + timedelta(seconds=2), 1)
    assert not limit.is_open(START + timedelta(seconds=9.9), 5)
    assert limit.is_open(START + timedelta(seconds=10), 5)


@given(places=st.integers(1, 5), steps=st.lists(st.booleans(), max_size=50))
def test_no_more_run_than_there_are_places(places: int, steps: list[bool]) -> None:
    limit, running = Limit("acme", "key"), 0
    limit.define(Policy(concurrency_limits=(ConcurrencyLimit("key", places),)))
    for starts in steps:
        if starts and limit.is_open(START, 1):
            limit.take(START, 1)
            running += 1
        elif not starts and running:
            limit.give_back()
            running -= 1
        assert limit.taken == running <= places
        assert limit.room(START) == places - running
        assert limit.is_open(START, 1) == (running < places)


def test_the_latest_task_of_a_key_decides() -> None:
    limit = Limit("acme", "key")
    strategy = LimitStrategy.ROUND_ROBIN
    limit.define(Policy(concurrency_limits=(ConcurrencyLimit("key", 3), ConcurrencyLimit("x", 9))))
    limit.define(Policy(concurrency_limits=(ConcurrencyLimit("key", 2, strategy),)))
    limit.define(Policy(rate_limits=(RateLimit("key", 7, 2.0),)))
    limit.define(Policy(rate_limits=(RateLimit("other", 1, 1.0),)))
    assert (limit.places, limit.strategy) == (2, strategy)
    assert (limit.units, limit.period) == (7, 2.0)


def test_a_pause_closes_it_until_it_is_over() -> None:
    limit = Limit("acme", "key", members=1, waiting=1)
    until = limit.paused_until = START + timedelta(seconds=5)
    assert not limit.is_open(START, 1)
    assert limit.room(START) == 0
    assert limit.due_time(START) == until
    assert limit.is_open(until, 1)
