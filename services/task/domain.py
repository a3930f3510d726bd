"""Tasks, their states, and what may follow what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.task.errors import TaskStateConflict


class TaskState(StrEnum):
    """Where a task is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EventType(StrEnum):
    """What happened to a task."""

    CREATED = "created"
    STARTED = "started"
    PROGRESSED = "progressed"
    RETRYING = "retrying"
    RELEASED = "released"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL: Final = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})

TRANSITIONS: Final[Mapping[TaskState, frozenset[TaskState]]] = {
    TaskState.QUEUED: frozenset({TaskState.RUNNING, TaskState.CANCELLED}),
    TaskState.RUNNING: frozenset({TaskState.RUNNING, TaskState.QUEUED, *TERMINAL}),
    TaskState.SUCCEEDED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}
"""From each state, the states that may follow."""

LEASE_EXPIRED: Final = "LeaseExpired"
"""Type of the error of an attempt whose agent went silent."""


def check_transition(current: TaskState, wanted: TaskState) -> None:
    """Refuse a step that the table of transitions doesn't have.

    Raises:
        TaskStateConflict: It doesn't.
    """
    if wanted not in TRANSITIONS[current]:
        raise TaskStateConflict(f"The task is {current}; it can't become {wanted}.")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt has come: 0 to 1, and in words."""

    fraction: float
    message: str


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why an attempt failed."""

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Lease:
    """One attempt of one task, as its agent names it."""

    task_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work.

    Attributes:
        input: Serialized google.protobuf.Struct.
        epoch: Grows with each attempt and each loss of a lease; fences stale reports.
        ready_time: Not handed out before.
        result: Serialized google.protobuf.Value, once succeeded.
        last_sequence: Sequence of the last event in its history.
    """

    id: UUID
    tenant: str
    capability: str
    input: bytes
    priority: int
    labels: Mapping[str, str]
    max_attempts: int
    state: TaskState
    attempt: int
    epoch: int
    agent_id: UUID | None
    agent_name: str
    progress: Progress | None
    result: bytes | None
    error: TaskError | None
    creator: str
    create_time: datetime
    ready_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    last_sequence: int

    @property
    def lease(self) -> Lease:
        """The lease of the running attempt."""
        return Lease(self.id, self.epoch)


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One change of a task, with what the change touched."""

    task_id: UUID
    sequence: int
    type: EventType
    time: datetime
    state: TaskState
    attempt: int
    agent_id: UUID | None
    progress: Progress | None
    error: TaskError | None

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class NewTask:
    """What a caller wants done.

    Attributes:
        request_id: Makes the creation idempotent; empty for none.
        digest: Of all the caller sent, to tell a repeat from another task.
    """

    capability: str
    input: bytes
    priority: int
    labels: Mapping[str, str]
    max_attempts: int
    request_id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as the registry knows it."""

    id: UUID
    tenant: str
    name: str
    capabilities: frozenset[str]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait before an attempt: doubled each time, bounded."""

    backoff: float
    backoff_max: float

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after the failure of the `attempt`-th attempt, from 1."""
        # Bounded exponent: 2**attempt itself would overflow a float for a patient task.
        return min(self.backoff * 2.0 ** min(attempt - 1, 32), self.backoff_max)
