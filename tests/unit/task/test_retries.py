"""How long to wait before another attempt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.task.domain.policy import PLAIN, Retry
from services.task.domain.retries import Backoff

retries = st.builds(
    Retry,
    initial_backoff=st.none() | st.floats(0, 86_400),
    multiplier=st.floats(1, 100),
    max_backoff=st.none() | st.floats(0, 604_800),
    jitter=st.floats(0, 1),
)
attempts = st.integers(1, 100)
chances = st.floats(0, 1)


def test_waits_double_to_the_longest_unless_said_otherwise() -> None:
    backoff = Backoff(1.0, 60.0)
    delays = [backoff.delay(PLAIN.retry, attempt) for attempt in range(1, 9)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


@given(retry=retries, attempt=attempts)
def test_without_jitter_waits_never_shrink(retry: Retry, attempt: int) -> None:
    backoff = Backoff(1.0, 60.0, chance=lambda: 0.0)
    assert 0 <= backoff.delay(retry, attempt) <= backoff.delay(retry, attempt + 1)


@given(retry=retries, attempt=attempts, chance=chances)
def test_jitter_takes_away_at_most_its_share(retry: Retry, attempt: int, chance: float) -> None:
    whole = Backoff(1.0, 60.0, chance=lambda: 0.0).delay(retry, attempt)
    delay = Backoff(1.0, 60.0, chance=lambda: chance).delay(retry, attempt)
    longest = 60.0 if retry.max_backoff is None else retry.max_backoff
    assert whole * (1 - retry.jitter) <= delay <= whole <= longest


def test_chance_is_used_for_jitter_alone() -> None:
    backoff = Backoff(1.0, 60.0)
    assert {backoff.delay(PLAIN.retry, 3) for _ in range(20)} == {4.0}
    assert len({backoff.delay(Retry(jitter=0.5), 3) for _ in range(20)}) > 1


def test_a_very_patient_task_does_not_overflow() -> None:
    assert Backoff(1.0, 60.0).delay(Retry(multiplier=100.0), 100_000) == 60.0
