"""The table of transitions, as laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.task.domain.states import (
    EVENT_OF_END,
    TERMINAL,
    TRANSITIONS,
    TaskState,
    check_transition,
)
from services.task.errors import TaskStateConflict

states = st.sampled_from(TaskState)
ended = st.sampled_from(sorted(TERMINAL))


def test_every_state_has_a_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(TaskState)
    assert set(EVENT_OF_END) == set(TERMINAL)


@given(current=ended, wanted=states)
def test_nothing_follows_a_terminal_state(current: TaskState, wanted: TaskState) -> None:
    with pytest.raises(TaskStateConflict, match=f"The task is {current}"):
        check_transition(current, wanted)


@given(current=states, wanted=states)
def test_what_the_table_has_is_allowed_and_nothing_else(
    current: TaskState, wanted: TaskState
) -> None:
    if wanted in TRANSITIONS[current]:
        check_transition(current, wanted)
    else:
        with pytest.raises(TaskStateConflict):
            check_transition(current, wanted)


def test_every_state_can_be_reached_and_left_for_every_end() -> None:
    reachable = {state for following in TRANSITIONS.values() for state in following}
    assert reachable == set(TaskState)
    for state in set(TaskState) - TERMINAL:
        assert ends_from(state) == set(TERMINAL)


def test_only_a_running_task_can_succeed_or_use_up_its_attempts() -> None:
    for end in (TaskState.SUCCEEDED, TaskState.DEAD_LETTERED):
        assert [state for state in TaskState if end in TRANSITIONS[state]] == [TaskState.RUNNING]


def ends_from(state: TaskState) -> set[TaskState]:
    """Return the terminal states that can be reached from a state."""
    seen, new = set[TaskState](), {state}
    while new:
        seen |= new
        new = {following for each in new for following in TRANSITIONS[each]} - seen
    return seen & TERMINAL
