"""The waits between tries of something that keeps failing."""

from agentmesh.stack.backoff import LONGEST_SECONDS, Backoff


def upper_bound(low: float, high: float) -> float:
    assert low == high / 2
    return high


def test_the_wait_doubles_up_to_a_bound() -> None:
    backoff = Backoff(random_between=upper_bound)
    waits = [backoff.failed() for _ in range(9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, LONGEST_SECONDS, LONGEST_SECONDS, LONGEST_SECONDS]


def test_waits_are_spread() -> None:
    waits = {Backoff().failed() for _ in range(20)}
    assert len(waits) > 1
    assert all(0.25 <= wait <= 0.5 for wait in waits)


def test_a_good_minute_is_needed_to_forget_failures() -> None:
    now = 0.0
    backoff = Backoff(clock=lambda: now, random_between=upper_bound)
    backoff.failed()
    backoff.succeeded()
    now = 59.0
    assert backoff.failed() == 1.0
    backoff.succeeded()
    now = 119.0
    assert backoff.failed() == 0.5


def test_a_very_long_series_of_failures_stays_in_bounds() -> None:
    backoff = Backoff(random_between=upper_bound)
    for _ in range(2000):
        assert backoff.failed() <= LONGEST_SECONDS
