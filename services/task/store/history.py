"""The histories of tasks: each change, numbered from 1, and all of them in one log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.domain.task import TaskEvent
from services.task.store.rows import EVENT, event_of

_COLUMNS: Final = ", ".join(("position", *EVENT))

_OF_TASK: Final = text(
    f"""
    SELECT {_COLUMNS} FROM (
        SELECT *, sum(coalesce(octet_length(data), 0)) OVER (ORDER BY sequence)
            - coalesce(octet_length(data), 0) AS bytes_before
        FROM (
            SELECT {_COLUMNS} FROM task_events WHERE task_id = :task_id AND sequence > :after
            ORDER BY sequence LIMIT :most
        ) AS following
    ) AS sized
    WHERE bytes_before < :most_bytes ORDER BY sequence
    """  # noqa: S608 - the names are the table's own
)

_CHANGES: Final = text(
    f"""
    SELECT * FROM (
        SELECT {_COLUMNS} FROM task_events
        WHERE task_id = :task_id AND type <> 'output'
        ORDER BY sequence DESC LIMIT :most
    ) AS latest ORDER BY sequence
    """  # noqa: S608 - the names are the table's own
)

_MOST_CHANGES = 10_000
_MOST_AT_A_TIME = 500
_MOST_BYTES_AT_A_TIME = 4 << 20


async def list_events(connection: AsyncConnection, task_id: UUID, after: int) -> list[TaskEvent]:
    """Return the task's events after sequence `after`, in order, of a bounded number and size."""
    parameters = {
        "task_id": task_id,
        "after": after,
        "most": _MOST_AT_A_TIME,
        "most_bytes": _MOST_BYTES_AT_A_TIME,
    }
    return _events(await connection.execute(_OF_TASK, parameters))


def may_go_on(events: Sequence[TaskEvent]) -> bool:
    """Tell whether more may follow than `list_events` returned."""
    size = sum(len(event.data) for event in events if event.data is not None)
    return len(events) >= _MOST_AT_A_TIME or size >= _MOST_BYTES_AT_A_TIME


async def list_changes(connection: AsyncConnection, task_id: UUID) -> list[TaskEvent]:
    """Return the task's events but its output, in order; of very many the latest."""
    return _events(await connection.execute(_CHANGES, {"task_id": task_id, "most": _MOST_CHANGES}))


def _events(result: Any) -> list[TaskEvent]:
    return [event_of(row) for row in result.mappings()]
