"""The history of a task: each change, numbered from 1 without gaps, and told to who listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Text, cast, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.domain import EventType, Lease, Task, TaskEvent
from services.task.store.rows import events_of
from services.task.tables import TaskEventRow

CHANGED: Final = "task_changed"
"""Channel on which the id of each changed task is notified, at the commit."""

LOST: Final = "lease_lost"
"""Channel on which `<task id> <epoch>` of each lease that is taken away is notified."""

_MOST_AT_A_TIME = 500


async def record(connection: AsyncConnection, type_: EventType, tasks: Sequence[Task]) -> None:
    """Add an event to the history of each task, as the task is now.

    The caller has raised `last_sequence` in the statement that made the change, so
    that the row's lock orders the numbers.
    """
    if not tasks:
        return
    statement = insert(TaskEventRow).returning(
        func.pg_notify(CHANGED, cast(TaskEventRow.task_id, Text))
    )
    await connection.execute(statement, [_values(type_, task) for task in tasks])


async def announce_loss(connection: AsyncConnection, leases: Sequence[Lease]) -> None:
    """Tell every replica, at the commit, that these leases are taken away."""
    for lease in leases:
        payload = f"{lease.task_id} {lease.epoch}"
        await connection.execute(select(func.pg_notify(LOST, payload)))


async def list_events(connection: AsyncConnection, task_id: UUID, after: int) -> list[TaskEvent]:
    """Return the task's events after sequence `after`, in order, a bounded number at a time."""
    query = (
        select(TaskEventRow.__table__)
        .where(TaskEventRow.task_id == task_id, TaskEventRow.sequence > after)
        .order_by(TaskEventRow.sequence)
        .limit(_MOST_AT_A_TIME)
    )
    return events_of(await connection.execute(query))


def _values(type_: EventType, task: Task) -> dict[str, object]:
    return {
        "task_id": task.id,
        "sequence": task.last_sequence,
        "type": type_,
        "state": task.state,
        "attempt": task.attempt,
        "agent_id": task.agent_id,
        "progress_fraction": task.progress.fraction if task.progress else None,
        "progress_message": task.progress.message if task.progress else None,
        "error_type": task.error.type if task.error else None,
        "error_message": task.error.message if task.error else None,
    }
