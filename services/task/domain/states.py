"""The states of a task, and the one table of what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from services.task.errors import TaskStateConflict


class TaskState(StrEnum):
    """Where a task is in its life."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD_LETTERED = "dead_lettered"


class EventType(StrEnum):
    """What happened to a task."""

    CREATED = "created"
    QUEUED = "queued"
    STARTED = "started"
    PROGRESSED = "progressed"
    OUTPUT = "output"
    RETRYING = "retrying"
    RELEASED = "released"
    PAUSED = "paused"
    RESUMED = "resumed"
    UPDATED = "updated"
    CANCEL_REQUESTED = "cancel_requested"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD_LETTERED = "dead_lettered"


class WaitReason(StrEnum):
    """What a task that does not run waits for."""

    AGENT = "agent"
    TIME = "time"
    DEPENDENCIES = "dependencies"
    LIMIT = "limit"
    ANSWER = "answer"


TERMINAL: Final = frozenset(
    {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.DEAD_LETTERED}
)

_GIVEN_UP: Final = frozenset({TaskState.FAILED, TaskState.CANCELLED})

TRANSITIONS: Final[Mapping[TaskState, frozenset[TaskState]]] = {
    TaskState.SCHEDULED: frozenset({TaskState.QUEUED, *_GIVEN_UP}),
    TaskState.QUEUED: frozenset({TaskState.RUNNING, TaskState.SCHEDULED, *_GIVEN_UP}),
    TaskState.RUNNING: frozenset(
        {TaskState.QUEUED, TaskState.SCHEDULED, TaskState.PAUSED, *TERMINAL}
    ),
    TaskState.PAUSED: frozenset({TaskState.QUEUED, *_GIVEN_UP}),
    TaskState.SUCCEEDED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
    TaskState.DEAD_LETTERED: frozenset(),
}
"""From each state, the states that may follow."""

EVENT_OF_END: Final[Mapping[TaskState, EventType]] = {
    TaskState.SUCCEEDED: EventType.SUCCEEDED,
    TaskState.FAILED: EventType.FAILED,
    TaskState.CANCELLED: EventType.CANCELLED,
    TaskState.DEAD_LETTERED: EventType.DEAD_LETTERED,
}
"""The event that tells of each end."""


def check_transition(current: TaskState, wanted: TaskState) -> None:
    """Refuse a step that the table of transitions doesn't have.

    Raises:
        TaskStateConflict: It doesn't.
    """
    if wanted not in TRANSITIONS[current]:
        raise TaskStateConflict(f"The task is {current}; it can't become {wanted}.")
