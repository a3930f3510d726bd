"""Reads for callers: one task, on the pool's connections, without locks."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.task.domain.task import Task
from services.task.store.rows import (
    COMMON,
    ENDED,
    GIVEN,
    LIVE,
    add_given,
    finished_task_of,
    live_task_of,
)

_LIVE: Final = text(
    f"SELECT {', '.join((*COMMON, *LIVE, *GIVEN))} FROM tasks WHERE id = ANY(:ids)"  # noqa: S608
)
_FINISHED: Final = text(
    f"SELECT {', '.join((*COMMON, *ENDED, *GIVEN))} FROM finished_tasks WHERE id = ANY(:ids)"  # noqa: S608
)

_NEXT_DUE: Final = text(
    """
    SELECT least(
        (SELECT due_time FROM tasks WHERE due_time IS NOT NULL ORDER BY due_time LIMIT 1),
        (SELECT due_time FROM limits WHERE due_time IS NOT NULL ORDER BY due_time LIMIT 1)
    ) AS due, clock_timestamp() AS now
    """
)


async def get_tasks(connection: AsyncConnection, ids: Collection[UUID]) -> dict[UUID, Task]:
    """Return those of the tasks that there are, finished or not."""
    # A task moves one way only, so it is not missed if the finished ones are asked last.
    rows = (await connection.execute(_LIVE, {"ids": list(ids)})).mappings()
    tasks = {row["id"]: add_given(live_task_of(row), row) for row in rows}
    missing = [task_id for task_id in ids if task_id not in tasks]
    if missing:
        rows = (await connection.execute(_FINISHED, {"ids": missing})).mappings()
        tasks.update({row["id"]: add_given(finished_task_of(row), row) for row in rows})
    return tasks


async def get_task(connection: AsyncConnection, tenant: str, task_id: UUID) -> Task | None:
    """Return a task of the tenant, or None."""
    task = (await get_tasks(connection, [task_id])).get(task_id)
    return task if task is not None and task.tenant == tenant else None


async def next_due(connection: AsyncConnection) -> tuple[datetime | None, datetime]:
    """Return when something is next due, if ever, and the time now, by the database's clock."""
    row: Any = (await connection.execute(_NEXT_DUE)).one()
    return row.due, row.now
