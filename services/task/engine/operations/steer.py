"""What callers do to one task: call it off, answer it, change it, have it tried at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from services.task.domain.states import EventType, TaskState, check_transition
from services.task.domain.task import Scalar, Task, TaskError
from services.task.engine.changes import Changes, Given
from services.task.engine.needs import Needs
from services.task.engine.steps import cancel, end, make_ready, postpone
from services.task.errors import EtagMismatch, TaskNotFound, TaskStateConflict

_REJECTED: Final = "ApprovalRejected"


def _find(changes: Changes, tenant: str, task_id: UUID) -> Task:
    task = changes.find(tenant, task_id)
    if task is None:
        raise TaskNotFound
    return task


@dataclass(frozen=True, slots=True)
class Cancel:
    """Calls a task off, and all under it; `grace` in seconds, None for the default."""

    tenant: str
    task_id: UUID
    grace: float | None = None

    def need(self, needs: Needs) -> None:
        """Ask for the task."""
        needs.tasks.add(self.task_id)

    def apply(self, changes: Changes) -> Task:
        """Call it off; one that is cancelled already stays as it is."""
        task = _find(changes, self.tenant, self.task_id)
        if task.state is TaskState.CANCELLED:
            return task
        check_transition(task.state, TaskState.CANCELLED)
        cancel(changes, task, changes.grace if self.grace is None else self.grace)
        return task


@dataclass(frozen=True, slots=True)
class Resume:
    """Answers a paused task; `answer` is a serialized Value."""

    tenant: str
    task_id: UUID
    answer: bytes
    reject: bool

    def need(self, needs: Needs) -> None:
        """Ask for the task."""
        needs.tasks.add(self.task_id)

    def apply(self, changes: Changes) -> Task:
        """Queue it again with the answer, or fail it."""
        task = _find(changes, self.tenant, self.task_id)
        if changes.again and self._is_done(task):
            return task
        if task.state is not TaskState.PAUSED:
            raise TaskStateConflict(f"The task is {task.state}; only a paused one can be answered.")
        if self.reject:
            task.error = TaskError(_REJECTED, "What the task asked for was rejected.")
            end(changes, task, TaskState.FAILED)
            return task
        task.pause, task.answer = None, self.answer
        # The attempt goes on, with another lease.
        task.attempt -= 1
        make_ready(changes, task, EventType.RESUMED)
        return task

    def _is_done(self, task: Task) -> bool:
        if self.reject:
            return task.error is not None and task.error.type == _REJECTED
        return task.state is not TaskState.PAUSED and task.answer == self.answer


@dataclass(frozen=True, slots=True)
class TryNow:
    """Queues a task at once that waits for its time or another attempt."""

    tenant: str
    task_id: UUID

    def need(self, needs: Needs) -> None:
        """Ask for the task."""
        needs.tasks.add(self.task_id)

    def apply(self, changes: Changes) -> Task:
        """Queue it."""
        task = _find(changes, self.tenant, self.task_id)
        if changes.again and task.state in (TaskState.QUEUED, TaskState.RUNNING):
            return task
        if task.state is not TaskState.SCHEDULED or task.awaits:
            raise TaskStateConflict(f"The task is {task.state}; it waits for no time.")
        make_ready(changes, task, EventType.QUEUED)
        return task


@dataclass(frozen=True, slots=True)
class Changed:
    """New values; None leaves a value as it is. `expires` says whether `expire_time` is one."""

    priority: int | None = None
    lane: int | None = None
    labels: Mapping[str, str] | None = None
    attributes: Mapping[str, Scalar] | None = None
    max_attempts: int | None = None
    schedule_time: datetime | None = None
    expires: bool = False
    expire_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Changes a task that has not ended; a stale `etag` refuses it."""

    tenant: str
    task_id: UUID
    etag: str
    values: Changed

    def need(self, needs: Needs) -> None:
        """Ask for the task."""
        needs.tasks.add(self.task_id)

    def apply(self, changes: Changes) -> Task:
        """Change it."""
        task, values = _find(changes, self.tenant, self.task_id), self.values
        if task.is_done:
            raise TaskStateConflict(f"The task is {task.state}; it can't be changed.")
        if self.etag and self.etag != etag_of(task):
            if changes.again and self._is_done(task):
                return task
            raise EtagMismatch
        waits = task.state in (TaskState.QUEUED, TaskState.SCHEDULED)
        if values.schedule_time is not None and not waits:
            raise TaskStateConflict(f"The task is {task.state}; it can't be scheduled anew.")
        self._set(changes, task)
        changes.record(task, EventType.UPDATED)
        if task.state is TaskState.QUEUED and task.blocked_by is None:
            changes.lanes.add(task.lane)
            changes.seats.queued(task.lane)
        return task

    def _is_done(self, task: Task) -> bool:
        """Tell whether the one change since the etag is this one."""
        values = self.values
        return self.etag == etag_at(task.last_sequence - 1) and all(
            new is None or new == present
            for new, present in (
                (values.priority, task.priority),
                (values.max_attempts, task.max_attempts),
                (values.expire_time, task.policy.expire_time),
            )
        )

    def _set(self, changes: Changes, task: Task) -> None:
        values = self.values
        if values.priority is not None and values.lane is not None:
            task.priority, task.lane = values.priority, values.lane
        if values.max_attempts is not None:
            task.max_attempts = values.max_attempts
        if values.schedule_time is not None:
            postpone(changes, task, values.schedule_time)
        if values.expires:
            task.policy = replace(task.policy, expire_time=values.expire_time)
        if values.labels is not None or values.attributes is not None:
            changes.given[task.id] = Given(task.id, values.labels, values.attributes)


def etag_of(task: Task) -> str:
    """Return the version of a task; it changes with every change that others see."""
    return etag_at(task.last_sequence)


def etag_at(sequence: int) -> str:
    """Return the version of a task right after the event of this sequence."""
    return f"{sequence:x}"
