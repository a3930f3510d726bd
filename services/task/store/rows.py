"""Between rows of the task database and the domain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import CursorResult, Table

from services.task.domain import EventType, Progress, Task, TaskError, TaskEvent, TaskState
from services.task.tables import TaskRow

TASKS: Final[Table] = TaskRow.metadata.tables["tasks"]
_INTERNAL = {"request_id", "request_digest", "lease_expire_time"}

TASK_COLUMNS: Final = tuple(column for column in TASKS.columns if column.name not in _INTERNAL)
"""What makes a `Task`; for RETURNING and SELECT alike."""

TASK_NAMES: Final = ", ".join(f"tasks.{column.name}" for column in TASK_COLUMNS)
"""The same as text."""


def tasks_of(result: CursorResult[Any]) -> list[Task]:
    """Read all rows of a result as tasks."""
    return [task_of(row) for row in result]


def task_of(row: Any) -> Task:
    """Read a row of `TASK_COLUMNS` as a task."""
    return Task(
        id=row.id,
        tenant=row.tenant,
        capability=row.capability,
        input=row.input,
        priority=row.priority,
        labels=row.labels,
        max_attempts=row.max_attempts,
        state=TaskState(row.state),
        attempt=row.attempt,
        epoch=row.epoch,
        agent_id=row.agent_id,
        agent_name=row.agent_name,
        progress=_progress(row),
        result=row.result,
        error=_error(row),
        creator=row.creator,
        create_time=row.create_time,
        ready_time=row.ready_time,
        start_time=row.start_time,
        end_time=row.end_time,
        last_sequence=row.last_sequence,
    )


def events_of(rows: Iterable[Any]) -> list[TaskEvent]:
    """Read rows of `task_events` as events."""
    return [
        TaskEvent(
            task_id=row.task_id,
            sequence=row.sequence,
            type=EventType(row.type),
            time=row.time,
            state=TaskState(row.state),
            attempt=row.attempt,
            agent_id=row.agent_id,
            progress=_progress(row),
            error=_error(row),
        )
        for row in rows
    ]


def _progress(row: Any) -> Progress | None:
    if row.progress_fraction is None:
        return None
    return Progress(row.progress_fraction, row.progress_message or "")


def _error(row: Any) -> TaskError | None:
    return None if row.error_type is None else TaskError(row.error_type, row.error_message or "")
