"""The histories of tasks: each change, numbered from 1, and all of them in one log."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.domain.task import TaskEvent
from services.task.store.rows import EVENT, event_of

_COLUMNS: Final = ", ".join(("position", *EVENT))

_OF_TASK: Final = text(
    f"""
    SELECT {_COLUMNS} FROM task_events WHERE task_id = :task_id AND sequence > :after
    ORDER BY sequence LIMIT :most
    """  # noqa: S608 - the names are the table's own
)

_LEASES: Final = text(
    f"""
    SELECT {_COLUMNS} FROM task_events
    WHERE task_id = :task_id AND type <> 'output'
    ORDER BY sequence
    """  # noqa: S608 - the names are the table's own
)

_MOST_AT_A_TIME = 500


async def list_events(connection: AsyncConnection, task_id: UUID, after: int) -> list[TaskEvent]:
    """Return the task's events after sequence `after`, in order, a bounded number at a time."""
    parameters = {"task_id": task_id, "after": after, "most": _MOST_AT_A_TIME}
    return _events(await connection.execute(_OF_TASK, parameters))


async def list_changes(connection: AsyncConnection, task_id: UUID) -> list[TaskEvent]:
    """Return all of the task's events but its output, in order."""
    return _events(await connection.execute(_LEASES, {"task_id": task_id}))


def _events(result: Any) -> list[TaskEvent]:
    return [event_of(row) for row in result.mappings()]
