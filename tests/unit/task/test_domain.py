"""States and retries of tasks, as laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.task.domain import TERMINAL, TRANSITIONS, RetryPolicy, TaskState, check_transition
from services.task.errors import TaskStateConflict

states = st.sampled_from(TaskState)


def test_every_state_has_a_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(TaskState)


@given(current=st.sampled_from(sorted(TERMINAL)), wanted=states)
def test_nothing_follows_a_terminal_state(current: TaskState, wanted: TaskState) -> None:
    with pytest.raises(TaskStateConflict):
        check_transition(current, wanted)


def test_every_state_but_the_first_can_be_reached() -> None:
    reachable = {state for following in TRANSITIONS.values() for state in following}
    assert reachable == set(TaskState)


@given(
    backoff=st.floats(0.001, 1000), most=st.floats(0.001, 10_000), attempt=st.integers(1, 10_000)
)
def test_waits_grow_and_are_bounded(backoff: float, most: float, attempt: int) -> None:
    policy = RetryPolicy(backoff, most)
    assert 0 < policy.delay(attempt) <= policy.delay(attempt + 1) <= most


def test_waits_double() -> None:
    policy = RetryPolicy(1.0, 60.0)
    assert [policy.delay(attempt) for attempt in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
