"""A task, its attempts' leases, and its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

from services.task.domain.policy import PLAIN, Policy
from services.task.domain.states import TERMINAL, EventType, TaskState, WaitReason

LEASE_EXPIRED: Final = "LeaseExpired"
"""Type of the error of an attempt whose agent went silent."""

Scalar = str | float | bool


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


class Lease(NamedTuple):
    """One attempt of one task, as its agent names it."""

    task_id: UUID
    epoch: int


@dataclass(slots=True)
class Task:
    """A piece of work, as it is stored. The engine changes it in place, within a transaction.

    Attributes:
        input: Serialized google.protobuf.Struct.
        input_payload: Serialized mesh.task.v1.Payload, or None.
        lane: Id of the lane it waits in.
        blocked_by: Key of the limit it waits behind, while queued.
        awaits: Dependencies whose end it still waits for.
        epoch: Grows with each attempt and each loss of a lease; fences stale reports.
        checkpoint: What a handler last gave with a heartbeat; serialized Value.
        answer: The answer to its last pause; serialized Value.
        pause: Serialized mesh.task.v1.TaskPause, while paused.
        ready_time: When it became ready, or will.
        seen_time: Last sign of life of the running handler.
        lease_time: When the running attempt's lease runs out.
        cancel_by: When the lease is taken from an agent that was asked to stop.
        due_time: When the engine must look at it again, unasked.
        result: Serialized google.protobuf.Value, once succeeded.
        last_sequence: Sequence of the last event in its history.
    """

    id: UUID
    tenant: str
    capability: str
    state: TaskState
    priority: int
    lane: int
    attempt: int
    max_attempts: int
    epoch: int
    creator: str
    create_time: datetime
    ready_time: datetime
    last_sequence: int
    input: bytes = b""
    input_payload: bytes | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    policy: Policy = PLAIN
    parent_id: UUID | None = None
    root_id: UUID | None = None
    depth: int = 0
    replay_of: UUID | None = None
    blocked_by: str | None = None
    awaits: int = 0
    has_dependents: bool = False
    has_children: bool = False
    agent_id: UUID | None = None
    agent_name: str = ""
    progress: Progress | None = None
    checkpoint: bytes | None = None
    answer: bytes | None = None
    pause: bytes | None = None
    error: TaskError | None = None
    result: bytes | None = None
    result_payload: bytes | None = None
    tokens: int = 0
    cost: float = 0.0
    start_time: datetime | None = None
    seen_time: datetime | None = None
    lease_time: datetime | None = None
    cancel_request_time: datetime | None = None
    cancel_by: datetime | None = None
    due_time: datetime | None = None
    end_time: datetime | None = None

    def copy(self) -> Task:
        """Return another that can be changed by itself."""
        return Task(*_values(self))

    @property
    def lease(self) -> Lease:
        """The lease of the running attempt."""
        return Lease(self.id, self.epoch)

    @property
    def root(self) -> UUID:
        """The topmost of its parents, or itself."""
        return self.root_id or self.id

    @property
    def is_done(self) -> bool:
        """Whether it has reached a terminal state."""
        return self.state in TERMINAL

    @property
    def wait_reason(self) -> WaitReason | None:
        """What it waits for, if it does."""
        match self.state:
            case TaskState.QUEUED:
                return WaitReason.AGENT if self.blocked_by is None else WaitReason.LIMIT
            case TaskState.SCHEDULED:
                return WaitReason.DEPENDENCIES if self.awaits else WaitReason.TIME
            case TaskState.PAUSED:
                return WaitReason.ANSWER
            case _:
                return None

    def next_due(self) -> datetime | None:
        """Return when the engine must look at the task again, unasked; None for never."""
        if self.policy is PLAIN:
            match self.state:
                case TaskState.RUNNING:
                    return _earliest(self.lease_time, self.cancel_by)
                case TaskState.SCHEDULED:
                    return None if self.awaits else self.ready_time
                case _:
                    return None
        return _earliest(*self._bounds())

    def _bounds(self) -> list[datetime | None]:
        deadlines, bounds = self.policy.deadlines, [after(self.create_time, self.total_seconds)]
        if self.state is TaskState.RUNNING:
            bounds += [self.lease_time, self.cancel_by]
            bounds += [after(self.start_time, deadlines.attempt)]
            bounds += [after(self.seen_time, deadlines.heartbeat)]
            return bounds
        bounds.append(self.policy.expire_time)
        if self.state is TaskState.SCHEDULED and not self.awaits:
            bounds.append(self.ready_time)
        if self.state is TaskState.QUEUED:
            bounds.append(after(self.ready_time, deadlines.queue))
        return bounds

    @property
    def total_seconds(self) -> float | None:
        """How long it may take in all."""
        return self.policy.deadlines.total


_values: Final = attrgetter(*(each.name for each in fields(Task)))


def after(time: datetime | None, seconds: float | None) -> datetime | None:
    """Return the time so many seconds later; None if either is missing."""
    return None if time is None or seconds is None else time + timedelta(seconds=seconds)


def _earliest(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time is not None), default=None)


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One change of a task, with what the change touched.

    Attributes:
        data: For OUTPUT the chunk, in its media type; for PAUSED the serialized TaskPause.
        position: Place in the log of all tasks' events; 0 while it is not stored.
    """

    task_id: UUID
    tenant: str
    root_id: UUID | None
    sequence: int
    type: EventType
    time: datetime
    state: TaskState
    attempt: int
    epoch: int
    agent_id: UUID | None
    agent_name: str
    progress: Progress | None
    error: TaskError | None
    content_type: str | None = None
    data: bytes | None = None
    position: int = 0

    @property
    def is_last(self) -> bool:
        """Whether nothing follows."""
        return self.state in TERMINAL


@dataclass(slots=True)
class NewTask:
    """What a caller wants done.

    Attributes:
        input_blob: The blob that the payload names, if it names one.
        schedule_time: Not handed out before; None for at once.
        delay: Seconds after its creation before which it is not handed out.
        request_id: Makes the creation idempotent; empty for none.
        digest: Of all the caller sent, to tell a repeat from another task.
    """

    capability: str
    input: bytes
    max_attempts: int
    input_payload: bytes | None = None
    input_blob: UUID | None = None
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    policy: Policy = PLAIN
    parent_id: UUID | None = None
    replay_of: UUID | None = None
    schedule_time: datetime | None = None
    delay: float = 0.0
    request_id: str = ""
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Usage:
    """What work used: tokens, and cost in the currency that agents report in."""

    tokens: int = 0
    cost: float = 0.0

    def __bool__(self) -> bool:
        """Whether it is anything at all."""
        return bool(self.tokens or self.cost)


NOTHING: Final = Usage()


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as the registry knows it.

    Attributes:
        capabilities: The version of each, empty for none.
    """

    id: UUID
    tenant: str
    name: str
    capabilities: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
