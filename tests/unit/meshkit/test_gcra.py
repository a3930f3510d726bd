"""Laws of the generic cell rate algorithm."""

from __future__ import annotations

from itertools import accumulate, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshkit.limits.gcra import NEVER, TOLERANCE, take
from meshkit.limits.rate import RateLimit

limits = st.builds(RateLimit, st.integers(1, 100_000).map(float), st.integers(1, 50))
# Milliseconds keep away from the edge where a rounding error decides.
spans = st.integers(0, 5000).map(lambda milliseconds: milliseconds / 1000)
wishes = st.lists(st.tuples(spans, st.integers(1, 60)), min_size=1, max_size=25)


@given(limit=limits, wishes=wishes)
def test_no_time_sees_more_than_the_burst_and_what_the_rate_adds(
    limit: RateLimit, wishes: list[tuple[float, int]]
) -> None:
    tat, given_at = NEVER, list[tuple[float, int]]()
    times = accumulate(span for span, _ in wishes)
    for now, (_, wanted) in zip(times, wishes, strict=True):
        taken = take(tat, now, limit, wanted)
        tat = taken.tat
        assert 0 <= taken.calls <= wanted
        given_at.append((now, taken.calls))
    for first, last in combinations(range(len(given_at) + 1), 2):
        within = given_at[last - 1][0] - given_at[first][0]
        count = sum(calls for _, calls in given_at[first:last])
        bound = limit.burst + limit.per_second * (within + TOLERANCE)
        assert count <= bound + 1e-6


@given(limit=limits, wanted=st.integers(1, 200))
def test_who_has_not_called_gets_the_burst_at_once(limit: RateLimit, wanted: int) -> None:
    assert take(NEVER, 7.0, limit, wanted).calls == min(wanted, limit.burst)


@given(limit=limits, wishes=wishes)
def test_after_the_wait_there_is_a_call_and_just_before_there_is_none(
    limit: RateLimit, wishes: list[tuple[float, int]]
) -> None:
    tat, now = NEVER, 0.0
    for span, wanted in wishes:
        now += span
        taken = take(tat, now, limit, wanted)
        tat = taken.tat
        if taken.calls:
            assert taken.retry_after == 0
            continue
        assert taken.retry_after > 0
        early = now + taken.retry_after - 2 * TOLERANCE
        assert early < now or take(tat, early, limit, 1).calls == 0
        now += taken.retry_after
        again = take(tat, now, limit, 1)
        assert again.calls == 1
        tat = again.tat


@given(limit=limits, begin=spans)
def test_who_calls_at_the_rate_is_never_refused(limit: RateLimit, begin: float) -> None:
    tat = NEVER
    for number in range(200):
        taken = take(tat, begin + number / limit.per_second, limit, 1)
        assert taken.calls == 1
        tat = taken.tat


@given(limit=limits, wishes=wishes, first=st.integers(1, 60), second=st.integers(1, 60))
def test_a_request_in_two_parts_gets_as_much_as_in_one(
    limit: RateLimit, wishes: list[tuple[float, int]], first: int, second: int
) -> None:
    tat, now = NEVER, 0.0
    for span, wanted in wishes:
        now += span
        tat = take(tat, now, limit, wanted).tat
    whole = take(tat, now, limit, first + second)
    begun = take(tat, now, limit, first)
    ended = take(begun.tat, now, limit, second)
    assert begun.calls + ended.calls == whole.calls
    assert ended.tat == pytest.approx(whole.tat)


@given(limit=limits, wishes=wishes, back=spans)
def test_a_clock_set_back_gives_nothing_more_and_takes_no_longer_than_an_empty_bucket(
    limit: RateLimit, wishes: list[tuple[float, int]], back: float
) -> None:
    tat, now = NEVER, 0.0
    for span, wanted in wishes:
        now += span
        tat = take(tat, now, limit, wanted).tat
    earlier = take(tat, now - back, limit, 100)
    assert earlier.calls <= take(tat, now, limit, 100).calls
    assert earlier.retry_after <= 1 / limit.per_second + TOLERANCE
    refilled = now - back + limit.burst / limit.per_second
    assert take(take(tat, now - back, limit, 1).tat, refilled, limit, limit.burst).calls >= (
        limit.burst - 1
    )


def test_a_limit_that_was_raised_counts_at_once() -> None:
    slow, fast = RateLimit(1 / 3600, 10), RateLimit(100, 10)
    emptied = take(NEVER, 0.0, slow, 10)
    assert take(emptied.tat, 0.0, slow, 1).retry_after == pytest.approx(3600)
    assert take(emptied.tat, 0.0, fast, 1).retry_after == pytest.approx(0.01)
